"""The node is drained by kubectl while all replicas answer streams: one replica goes at a time, each with its drain.

There is one real node, so what is evicted comes back on it once it is uncordoned; the drain goes on meanwhile.
"""

from __future__ import annotations

import contextlib
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from builders.services import a_service
from llmservice_contract.container import HTTP_PORT, METRICS_PORT
from support.cluster import kubectl, wait_until
from support.rollouts import PodWatch, Rolled
from support.serving import READY_SECONDS, Serving
from support.streaming import StreamedLoad
from support.web import host

pytestmark = [pytest.mark.campaign, pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(1500)]

NAME, REPLICAS = "drained", 2
LONG_TOKENS = 1000
DRAINED_WITHIN = 600.0
"""One start of an engine and two drains, on a busy two-core machine."""
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget"


def test_a_drain_takes_one_replica_at_a_time_and_cuts_no_stream(serving: Serving, tmp_path: Path) -> None:
    service = a_service(NAME).from_source("pvc://models/tiny").with_replicas(REPLICAS)
    serving.apply(service.with_spec(resources={"cpu": "250m", "memory": "6Gi"}).build())
    serving.wait_for(NAME, "Ready", "True")
    serving.post(NAME, {"prompt": "The", "max_tokens": 1})
    before = identities(serving)
    node = serving.pods(NAME)[0]["spec"]["nodeName"]
    rolled = Rolled(serving.cluster, serving.namespace, NAME, node)
    with (
        StreamedLoad(serving.address(NAME), NAME) as load,
        PodWatch(rolled) as watch,
        ThreadPoolExecutor() as threads,
        uncordoned_afterwards(serving, node),
    ):
        ask = [StreamedLoad(url(pod), NAME, tokens=LONG_TOKENS).ask for pod in serving.pods(NAME)]
        long_ones = [threads.submit(each) for each in ask]
        wait_until(lambda: all(map(answering, serving.pods(NAME))), "each replica answers a stream", timeout=60)
        with drain(serving, node, tmp_path / "said") as draining:
            wait_until(lambda: REFUSED in (tmp_path / "said").read_text(), "an eviction is refused", timeout=60)
            wait_until(lambda: len(identities(serving) & before) == REPLICAS - 1, "a replica has gone", timeout=120)
            waiting = serving.wait_for(NAME, "Scheduled", "False", "NodesUnavailable", timeout=60)
            assert f"{node} is cordoned" in waiting["message"], waiting
            assert draining.poll() is None, "the drain waits for the budget"
            uncordon(serving, node)
            assert draining.wait(DRAINED_WITHIN) == 0, (tmp_path / "said").read_text()
        wait_until(lambda: watch.seen[-1].ready == REPLICAS, "all replicas answer again", timeout=READY_SECONDS)
        assert not identities(serving) & before
        assert watch.least() == REPLICAS - 1
    assert not load.failed, load.failed[:5]
    assert [each.result() for each in long_ones] == [""] * REPLICAS, "what began before the drain is answered whole"
    refusals = (tmp_path / "said").read_text().count(REFUSED)
    print(f"{load.whole} streams were whole, none was cut; an eviction was refused {refusals} times")
    serving.delete("LLMService", NAME)
    wait_until(lambda: not serving.pods(NAME), "its pods are gone", timeout=120)


def identities(serving: Serving) -> set[str]:
    """Of all its pods, those included that are on their way out."""
    return {pod["metadata"]["uid"] for pod in serving.pods(NAME)}


def url(pod: dict[str, Any]) -> str:
    """Of its engine."""
    return f"http://{host(pod['status']['podIP'])}:{HTTP_PORT}"


def answering(pod: dict[str, Any]) -> bool:
    """Whether its engine is at work on a request."""
    page = f"http://{host(pod['status']['podIP'])}:{METRICS_PORT}/metrics"
    with urllib.request.urlopen(page, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("vllm:num_requests_running")) > 0


@contextlib.contextmanager
def drain(serving: Serving, node: str, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`kubectl drain` of the service's pods, whose words go to a file; it is ended with the block."""
    pods = ["--pod-selector", f"app.kubernetes.io/instance={NAME}", "--delete-emptydir-data"]
    command = [kubectl(), "--kubeconfig", str(serving.cluster.kubeconfig), "drain", node, *pods]
    with said.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def uncordoned_afterwards(serving: Serving, node: str) -> Iterator[None]:
    """Whatever the block does, the node takes pods afterwards."""
    try:
        yield
    finally:
        uncordon(serving, node)


def uncordon(serving: Serving, node: str) -> None:
    """As `kubectl uncordon`."""
    command = [kubectl(), "--kubeconfig", str(serving.cluster.kubeconfig), "uncordon", node]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
