"""A disk of each replica's own, given to a service that runs: Kubernetes' own controllers make the claims, and the
StatefulSet is made anew around its pods. Volumes are made by hand, as no provisioner serves kwok's nodes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from support.cluster import Cluster, wait_until
from support.operator import OperatorProcess, operator
from support.rollouts import PodWatch, Rolled
from support.volumes import volumes

pytestmark = pytest.mark.own_nodes


@pytest.fixture
def acting(rolled: Rolled) -> Iterator[OperatorProcess]:
    """Its operator."""
    with operator(rolled.cluster.kubeconfig, [rolled.namespace]) as process:
        yield process


@pytest.fixture
def storage(cluster: Cluster) -> Iterator[str]:
    """The name of a class with three volumes."""
    name = f"disks-{secrets.token_hex(3)}"
    sources = {str(number): {"hostPath": {"path": f"/nowhere/{name}-{number}"}} for number in range(3)}
    with volumes(cluster, name, sources):
        yield name


def claims(rolled: Rolled) -> dict[str, dict[str, Any]]:
    found = rolled.cluster.request("GET", f"/api/v1/namespaces/{rolled.namespace}/persistentvolumeclaims")
    return {claim["metadata"]["name"]: claim for claim in found.body["items"]}


def claims_of_pods(rolled: Rolled) -> list[list[str]]:
    volumes = (pod["spec"]["volumes"] for pod in rolled.pods())
    return [[v["persistentVolumeClaim"]["claimName"] for v in each if "persistentVolumeClaim" in v] for each in volumes]


@pytest.mark.usefixtures("acting")
def test_disks_are_given_to_a_service_that_runs_and_go_with_it(rolled: Rolled, storage: str) -> None:
    rolled.create(2)
    first = rolled.statefulset()["metadata"]["uid"]
    with PodWatch(rolled) as watch:
        rolled.edit(cache={"size": "1Gi", "storageClassName": storage})
        rolled.settled(2)
        assert watch.least() == 1, "one after the other"
    assert claims_of_pods(rolled) == [["cache-chat-0"], ["cache-chat-1"]]
    assert {claim["status"]["phase"] for claim in claims(rolled).values()} == {"Bound"}
    second = rolled.statefulset()["metadata"]["uid"]
    assert second != first, "claims can't be changed, so the set was made anew"

    pods = rolled.uids()
    rolled.edit(cache={"size": "2Gi", "storageClassName": storage})
    wait_until(lambda: rolled.statefulset().get("metadata", {}).get("uid") not in (None, second), "a set made anew")
    rolled.settled(2)
    assert rolled.uids() == pods, "another size restarts none"

    rolled.edit(replicas=1)
    wait_until(lambda: len(rolled.pods()) == 1, "one replica")
    assert set(claims(rolled)) == {"cache-chat-0", "cache-chat-1"}, "its disk is kept for the replica that comes back"
    rolled.cluster.request("DELETE", rolled.cluster.services(rolled.namespace, rolled.name))
    wait_until(
        lambda: not rolled.pods() and not claims(rolled), "pods and claims are gone with the service", timeout=60
    )


def test_pods_that_a_deleted_service_left_are_swept(rolled: Rolled, acting: OperatorProcess) -> None:
    rolled.create(2)
    acting.stop()
    path = f"/apis/apps/v1/namespaces/{rolled.namespace}/statefulsets/chat"
    rolled.cluster.request("DELETE", path, {"propagationPolicy": "Orphan"})
    wait_until(lambda: not rolled.statefulset(), "the set is gone")
    rolled.cluster.request("DELETE", rolled.cluster.services(rolled.namespace, rolled.name))
    assert len(rolled.pods()) == 2
    acting.start()
    wait_until(lambda: not rolled.pods(), "no pod is left", timeout=60)
