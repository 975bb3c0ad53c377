"""Records a service while it scales: the published metric, the desired replicas and the ready replicas over time."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import urllib3

from llmservice_operator.autoscaling import external_metrics
from support.cluster import Cluster

LOAD = Path(__file__).parents[2] / "hack" / "load.py"
EVERY_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Moment:
    """What was seen in one look."""

    at: float
    """On time.monotonic()."""
    published: float | None
    """The load in the metrics API; None if it gives no value."""
    refusal: str
    """Why it gives none, in its own words."""
    wanted: int
    ready: int

    @property
    def meant(self) -> int | None:
        """The count that the published number stands for."""
        return None if self.published is None else math.ceil(self.published / external_metrics.TARGET_LOAD)


class Watch:
    """Looks at one service all the time, in a thread of its own; use it as a context manager."""

    def __init__(self, cluster: Cluster, namespace: str, service: str) -> None:
        self.moments: list[Moment] = []
        self._cluster, self._namespace, self._service = cluster, namespace, service
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(30)

    def since(self, at: float) -> list[Moment]:
        """What was seen from then on."""
        return [moment for moment in self.moments if moment.at >= at]

    def first(self, seen: Callable[[Moment], bool], since: float = 0.0) -> float:
        """When something was first seen. AssertionError if it never was."""
        for moment in self.since(since):
            if seen(moment):
                return moment.at
        raise AssertionError(f"never seen; at last: {self.moments[-3:]}")

    def _run(self) -> None:
        while not self._done.wait(EVERY_SECONDS):
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                self.moments.append(self._look())

    def _look(self) -> Moment:
        answer = metric(self._cluster, self._namespace, self._service, external_metrics.LOAD)
        items = answer.body.get("items") or [] if answer.ok else []
        found = self._cluster.request("GET", self._cluster.services(self._namespace, self._service)).body
        return Moment(
            at=time.monotonic(),
            published=quantity(items[0]["value"]) if items else None,
            refusal="" if answer.ok else answer.message,
            wanted=found.get("spec", {}).get("replicas", 0),
            ready=found.get("status", {}).get("readyReplicas", 0),
        )


def metric(cluster: Cluster, namespace: str, service: str, name: str, **labels: str) -> Any:
    """An external metric of a service, as anybody who may can read it."""
    path = f"/apis/{external_metrics.API_GROUP}/{external_metrics.API_VERSION}/namespaces/{namespace}/{name}"
    wanted = {external_metrics.SERVICE_LABEL: service, **labels}
    return cluster.request("GET", path, labelSelector=",".join(f"{key}={value}" for key, value in wanted.items()))


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number."""
    suffixes = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}
    return float(text[:-1]) * suffixes[text[-1]] if text[-1] in suffixes else float(text)


@contextlib.contextmanager
def load(url: str, model: str, in_flight: int, seconds: float) -> Iterator[None]:
    """Bursts of so many requests while the block runs, and at most for so many seconds.

    Between bursts the machine has room for a replica that loads its model.
    """
    command = [sys.executable, str(LOAD), url, "--model", model]
    limits = ["--in-flight", str(in_flight), "--seconds", str(seconds), "--every", "4", "--max-tokens", "64"]
    with subprocess.Popen([*command, *limits], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            process.terminate()
            print(process.communicate(timeout=30)[0])
