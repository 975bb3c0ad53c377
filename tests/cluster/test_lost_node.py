"""A node stops answering: its replica comes up on another one. It never had a kubelet: the test plays that, once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import COMMIT, a_service
from support.aggregation import ensure_fake_nodes
from support.cluster import Cluster, wait_until
from support.lost import MARKED_WITHIN, play_kubelet, unready
from support.operator import operator
from support.rollouts import Rolled, make_node
from support.volumes import volumes

pytestmark = [pytest.mark.campaign, pytest.mark.own_nodes]

LOST_SECONDS = 10
SERVING_WITHIN = LOST_SECONDS + 25.0
"""From then on; what is known of a node may be 15 s old, and kwok's pods start at once."""


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[list[str]]:
    """The names of a node that has no kubelet and says once that it is ready, and of one that is not made yet."""
    ensure_fake_nodes(cluster, 1)
    names = [f"gpus-{secrets.token_hex(3)}" for _ in range(2)]
    make_node(cluster, names[0], 2, kwok=False, group=names[0])
    yield names
    for name in names:
        cluster.request("DELETE", f"/api/v1/nodes/{name}")


@pytest.fixture
def disks(cluster: Cluster, nodes: list[str]) -> Iterator[str]:
    """The name of a class with a volume on each of the two nodes, that of the first one first."""
    name = f"disks-{secrets.token_hex(3)}"
    storage = {"metadata": {"name": name}, "provisioner": "kubernetes.io/no-provisioner"}
    storage["volumeBindingMode"] = "WaitForFirstConsumer"
    classes = "/apis/storage.k8s.io/v1/storageclasses"
    assert cluster.request("POST", classes, storage).ok
    with volumes(cluster, name, {node: local_to(node) for node in nodes}):
        yield name
    cluster.request("DELETE", f"{classes}/{name}")


def local_to(node: str) -> dict[str, Any]:
    """A disk that only this node has."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    return {"local": {"path": "/nowhere"}, "nodeAffinity": affinity}


def test_replicas_of_a_lost_node_serve_again_elsewhere_even_with_a_disk_on_it(
    cluster: Cluster, namespace: str, nodes: list[str], disks: str
) -> None:
    lost, other = nodes
    terms = [{"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}]
    scheduling = {"nodeSelector": {"group": lost}, "tolerations": terms}
    service = a_service("chat").from_source("hf://org/name", COMMIT).with_replicas(1).with_spec(scheduling=scheduling)
    with_disk = service.with_metadata(name="kept").with_spec(cache={"size": "1Gi", "storageClassName": disks})
    both = [Rolled(cluster, namespace, name, lost) for name in ("chat", "kept")]
    for each in (service, with_disk):
        made = cluster.create(namespace, each.build())
        assert made.ok, made.message
    with operator(cluster.kubeconfig, [namespace], {"LLMSERVICE_NODE_LOST_SECONDS": str(LOST_SECONDS)}):
        for rolled in both:
            wait_until(lambda r=rolled: on(r) == [lost], f"the pod of {rolled.name} is on {lost}")
            play_kubelet(rolled)
        for rolled in both:
            rolled.settled(1)
        make_node(cluster, other, 2, group=lost)
        wait_until(lambda: unready(cluster, lost), f"{lost} is marked", timeout=MARKED_WITHIN)
        began = time.monotonic()
        both[0].wait_for("Ready", "NodeLost", timeout=30)
        for rolled in both:
            wait_until(lambda r=rolled: on(r) != [lost], f"{rolled.name} is not on {lost}", timeout=SERVING_WITHIN)
            rolled.wait_for("Ready", "Ready", timeout=SERVING_WITHIN)
            assert on(rolled) == [other]
        assert time.monotonic() - began <= SERVING_WITHIN
    claim = cluster.request("GET", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/cache-kept-0").body
    assert claim["spec"]["volumeName"] == f"{disks}-{other}"


def on(rolled: Rolled) -> list[str | None]:
    """The nodes of its pods."""
    return [pod["spec"].get("nodeName") for pod in rolled.pods()]
