"""The kubelet of the real node is killed: its replica is given up in the stated time, and serves again afterwards.

There is one node that can run vLLM, so the new pod waits, and says for what, until the kubelet is back; that replicas
come up elsewhere is shown by tests/cluster/test_lost_node.py. The fake nodes are there to be the greater half: where
more than half of all nodes are silent the operator does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from builders.services import a_service
from support.aggregation import ensure_fake_nodes
from support.cluster import Cluster, wait_until
from support.node import stopped_kubelet
from support.release import Release
from support.serving import READY_SECONDS, Serving

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.cluster_wide,
    pytest.mark.usefixtures("dump_on_failure"),
    pytest.mark.timeout(900),
]

NAME = "stranded"
LOST_SECONDS = 20
MARKED_WITHIN = 90.0
"""What Kubernetes takes to see that a node has stopped."""
GIVEN_UP_WITHIN = LOST_SECONDS + 25.0
"""From then on; what is known of a node may be 15 s old."""
ENDED_WITHIN = 120.0
"""What the kubelet takes to end a container whose pod is gone, with the drain of its engine."""


@pytest.fixture
def quick(cluster: Cluster) -> Iterator[None]:
    """A node counts as lost soon; afterwards as late as ever. Most nodes answer whatever becomes of the real one."""
    ensure_fake_nodes(cluster, 2)
    release = Release(cluster.kubeconfig)
    release.install(nodeLostSeconds=LOST_SECONDS)
    yield
    release.install()


@pytest.mark.usefixtures("quick")
def test_a_replica_of_a_node_without_a_kubelet_is_given_up_and_serves_again_once_it_is_back(serving: Serving) -> None:
    serving.apply(a_service(NAME).from_source("pvc://models/tiny").with_spec(resources={"cpu": "300m"}).build())
    serving.wait_for(NAME, "Ready", "True")
    (before,) = serving.pods(NAME)
    node = before["spec"]["nodeName"]
    gpus = int(look(serving.cluster, node)["allocatable"]["nvidia.com/gpu"])

    with stopped_kubelet(gpus):
        silent = time.monotonic()
        wait_until(lambda: ready(serving.cluster, node)["status"] != "True", f"{node} is marked", timeout=MARKED_WITHIN)
        marked = time.monotonic()
        since = ready(serving.cluster, node)["lastTransitionTime"]
        serving.wait_for(NAME, "Ready", "False", "NodeLost", timeout=LOST_SECONDS)
        reported = f"its node {node} has not been Ready since {since}"
        wait_until(
            lambda: reported in (serving.condition(NAME, "Ready") or {})["message"], reported, timeout=LOST_SECONDS
        )
        wait_until(lambda: identity(serving) not in ("", uid(before)), "its pod is deleted by force", GIVEN_UP_WITHIN)
        given_up = time.monotonic()
        (after,) = serving.pods(NAME)
        lasted = datetime.fromisoformat(after["metadata"]["creationTimestamp"]) - datetime.fromisoformat(since)
        assert lasted.total_seconds() >= LOST_SECONDS, "not before the stated time"
        waiting = serving.wait_for(NAME, "Scheduled", "False", "NodesUnavailable", timeout=60)
        assert f"{node} is not ready" in waiting["message"], waiting
    back = time.monotonic()
    serving.wait_for(NAME, "Ready", "True", timeout=READY_SECONDS)
    serves = time.monotonic()
    assert serving.post(NAME, {"prompt": "The", "max_tokens": 1})["usage"]["completion_tokens"] == 1
    wait_until(
        lambda: serving.is_refused(before["status"]["podIP"], 8000), "the engine of before has ended", ENDED_WITHIN
    )
    print(
        f"the node was marked after {marked - silent:.0f} s, its pod given up {given_up - marked:.0f} s later; "
        f"served again {serves - back:.0f} s after the node was back"
    )
    serving.delete("LLMService", NAME)
    wait_until(lambda: not serving.pods(NAME), "its pods are gone", timeout=120)


def look(cluster: Cluster, node: str) -> dict[str, Any]:
    """The status of a node."""
    return dict(cluster.request("GET", f"/api/v1/nodes/{node}").body["status"])


def ready(cluster: Cluster, node: str) -> dict[str, Any]:
    """What Kubernetes says of whether the node answers."""
    return next(each for each in look(cluster, node)["conditions"] if each["type"] == "Ready")


def uid(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["uid"])


def identity(serving: Serving) -> str:
    """Of the pod that is there; empty if there is none."""
    return next(map(uid, serving.pods(NAME)), "")
