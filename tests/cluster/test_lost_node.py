"""A node stops answering: its replica comes up on another one. The kubelet is kwok's, which is told to leave it."""

from __future__ import annotations

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
    """Two nodes with one GPU each, beside others that stay."""
    ensure_fake_nodes(cluster, 1)
    names = [f"gpus-{secrets.token_hex(3)}" for _ in range(2)]
    for name in names:
        make_node(cluster, name, 1)
        labelled(cluster, name, names[0])
    yield names
    for name in names:
        cluster.request("DELETE", f"/api/v1/nodes/{name}")


def labelled(cluster: Cluster, node: str, group: str) -> None:
    path = f"/api/v1/nodes/{node}"
    answer = cluster.request("PATCH", path, {"metadata": {"labels": {"group": group}}}, content_type=MERGE)
    assert answer.ok, answer.message


def stop_answering(cluster: Cluster, node: str) -> None:
    """As a node that loses its power."""
    path = f"/api/v1/nodes/{node}"
    patch = {"metadata": {"annotations": {"kwok.x-k8s.io/node": None}}}
    assert cluster.request("PATCH", path, patch, content_type=MERGE).ok
    cluster.request("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")


def unready(cluster: Cluster, node: str) -> bool:
    status = cluster.request("GET", f"/api/v1/nodes/{node}").body["status"]
    return any(each["type"] == "Ready" and each["status"] != "True" for each in status["conditions"])


def test_a_replica_of_a_lost_node_serves_again_elsewhere(cluster: Cluster, namespace: str, nodes: list[str]) -> None:
    taint = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
    scheduling = {"nodeSelector": {"group": nodes[0]}, "tolerations": [taint]}
    service = a_service("chat").from_source("hf://org/name").with_replicas(1).with_spec(scheduling=scheduling)
    assert cluster.create(namespace, service.build()).ok
    rolled = Rolled(cluster, namespace, "chat", nodes[0])
    with operator(cluster.kubeconfig, [namespace], {"LLMSERVICE_NODE_LOST_SECONDS": str(LOST_SECONDS)}):
        rolled.settled(1)
        (before,) = rolled.pods()
        lost = before["spec"]["nodeName"]
        stop_answering(cluster, lost)
        wait_until(lambda: unready(cluster, lost), f"{lost} is marked", timeout=MARKED_WITHIN)
        began = time.monotonic()
        rolled.wait_for("Ready", "NotReady", timeout=20)
        rolled.wait_for("Ready", "Ready", timeout=SERVING_WITHIN)
        assert time.monotonic() - began <= SERVING_WITHIN
        (after,) = rolled.pods()
        assert after["spec"]["nodeName"] in set(nodes) - {lost}
