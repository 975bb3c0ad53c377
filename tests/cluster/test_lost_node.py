"""A node stops answering: its replica comes up on another one. It never had a kubelet: the test plays that, once."""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Iterator

import pytest

from builders.services import a_service
from support.aggregation import ensure_fake_nodes
from support.cluster import MERGE, Cluster, wait_until
from support.operator import operator
from support.rollouts import Rolled, make_node

pytestmark = pytest.mark.cluster_wide

LOST_SECONDS = 10
MARKED_WITHIN = 90.0
"""What Kubernetes takes to see that a node has stopped."""
SERVING_WITHIN = LOST_SECONDS + 25.0
"""From then on; what is known of a node may be 15 s old, and kwok's pods start at once."""


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[list[str]]:
    """The names of a node that has no kubelet and says once that it is ready, and of one that is not made yet."""
    ensure_fake_nodes(cluster, 1)
    names = [f"gpus-{secrets.token_hex(3)}" for _ in range(2)]
    make_node(cluster, names[0], 1, kwok=False, group=names[0])
    yield names
    for name in names:
        cluster.request("DELETE", f"/api/v1/nodes/{name}")


def play_kubelet(rolled: Rolled) -> None:
    """The pod has started and is ready."""
    (pod,) = rolled.pods()
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    engine = {"name": "engine", "image": "x", "imageID": "", "ready": True, "started": True, "restartCount": 0}
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": now}]
    status = {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": [engine | {"state": {"running": {"startedAt": now}}}],
    }
    path = f"/api/v1/namespaces/{rolled.namespace}/pods/{pod['metadata']['name']}/status"
    answer = rolled.cluster.request("PATCH", path, {"status": status}, content_type=MERGE)
    assert answer.ok, answer.message


def unready(cluster: Cluster, node: str) -> bool:
    status = cluster.request("GET", f"/api/v1/nodes/{node}").body["status"]
    return any(each["type"] == "Ready" and each["status"] != "True" for each in status["conditions"])


def test_a_replica_of_a_lost_node_serves_again_elsewhere(cluster: Cluster, namespace: str, nodes: list[str]) -> None:
    lost, other = nodes
    terms = [{"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}]
    scheduling = {"nodeSelector": {"group": lost}, "tolerations": terms}
    service = a_service("chat").from_source("hf://org/name").with_replicas(1).with_spec(scheduling=scheduling)
    assert cluster.create(namespace, service.build()).ok
    rolled = Rolled(cluster, namespace, "chat", lost)
    with operator(cluster.kubeconfig, [namespace], {"LLMSERVICE_NODE_LOST_SECONDS": str(LOST_SECONDS)}):
        wait_until(lambda: [pod["spec"].get("nodeName") for pod in rolled.pods()] == [lost], f"its pod is on {lost}")
        play_kubelet(rolled)
        rolled.settled(1)
        make_node(cluster, other, 1, group=lost)
        wait_until(lambda: unready(cluster, lost), f"{lost} is marked", timeout=MARKED_WITHIN)
        began = time.monotonic()
        rolled.wait_for("Ready", "NotReady", timeout=20)
        rolled.wait_for("Ready", "Ready", timeout=SERVING_WITHIN)
        assert time.monotonic() - began <= SERVING_WITHIN
        (after,) = rolled.pods()
        assert after["spec"]["nodeName"] == other
