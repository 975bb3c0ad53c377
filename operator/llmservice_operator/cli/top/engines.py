"""Metrics pages of the engines, through the API server's proxy: this needs neither Prometheus nor an API key.

Invariants: only a few engines are read at the same time, and never more than MOST_ENGINES in total.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llmservice_contract.container import ENGINE_CONTAINER, HTTP_PORT, METRICS_PORT_NAME
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure, Forbidden
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.cli.system import System
from llmservice_operator.cli.top.figures import Figures, Page, figures, read
from llmservice_operator.resources import names

MOST_ENGINES = 200
_AT_A_TIME = 8

ServiceKey = tuple[str, str]
"""Namespace and name of a service."""


class Engines:
    """The engines of one service, of a namespace, or of all. Each sample is compared with the previous one."""

    def __init__(self, cluster: KubernetesClient, namespace: str | None, service: str, outside: System) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._labels = f"{names.NAME_LABEL}={names.APPLICATION},{names.COMPONENT_LABEL}={names.ENGINE_COMPONENT}"
        self._labels += f",{names.INSTANCE_LABEL}={service}" if service else ""
        self._outside = outside
        self._before: Mapping[str, Page] = {}

    def look(self) -> tuple[Mapping[ServiceKey, Figures], Sequence[str]]:
        """Metrics by service, and which engines returned none and why. Raises Failure."""
        pods = self._cluster.list("/api/v1", "Pod", "pods", self._namespace, labels=self._labels)
        running = [pod for pod in pods if _runs(pod)]
        if len(running) > MOST_ENGINES:
            raise Failure(
                f"{len(running)} engines run there, but at most {MOST_ENGINES} are read through the API server: name "
                "one service, or set --prometheus to the Prometheus that scrapes them"
            )
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            pages = list(pool.map(self._page, running))
        looks: dict[ServiceKey, list[tuple[Page | None, Page]]] = defaultdict(list)
        silent, now = [], {}
        for pod, page in zip(running, pages, strict=True):
            meta = pod["metadata"]
            if isinstance(page, Forbidden):
                raise Forbidden(
                    f"{page}. If a Prometheus scrapes the engines, --prometheus URL needs no such permission"
                )
            if isinstance(page, Failure):
                silent.append(str(page))
                continue
            now[meta["uid"]] = page
            looks[meta["namespace"], meta["labels"][names.INSTANCE_LABEL]].append((self._before.get(meta["uid"]), page))
        self._before = now
        return {key: figures(pairs) for key, pairs in looks.items()}, silent

    def _page(self, pod: Mapping[str, Any]) -> Page | Failure:
        meta = pod["metadata"]
        thing = ObjectRef("/api/v1", "pod", "pods", meta["namespace"], f"{meta['name']}:{_port(pod)}", "proxy/metrics")
        try:
            text = self._cluster.text(thing)
            return read(text, self._outside.now().timestamp())
        except ValueError:
            return Failure(f"the response of the {thing} is not in Prometheus' text format")
        except Failure as failure:
            return failure


def _port(pod: Mapping[str, Any]) -> int:
    """Port of its metrics: pods that an operator before 0.3.0 created have no port of that name."""
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or () if container["name"] == ENGINE_CONTAINER else ():
            if port.get("name") == METRICS_PORT_NAME:
                return int(port["containerPort"])
    return HTTP_PORT


def _runs(pod: Mapping[str, Any]) -> bool:
    """Whether its engine has started."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return any(each["name"] == ENGINE_CONTAINER and each.get("started") for each in statuses)
