"""Nodes that come some minutes after a pod is pending, as a node autoscaler adds them: kwok's nodes on the real API
server, scheduler and controllers. A new service, a rollout and a replica on several nodes end where they should.

The waits are the setting's: short ones here, and the whole ten minutes in the full campaign.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from support.campaign import FULL
from support.cluster import Cluster, wait_until
from support.own_nodes import OwnNodes

pytestmark = [pytest.mark.own_nodes, pytest.mark.timeout(3600 if FULL else 600)]

COMES_AFTER, PROVISION = (600, 900) if FULL else (8, 60)
"""Seconds from a pending pod to its node, and the setting."""
TRIGGERED = "pod triggered scale-up: [{gpus 0->1 (max: 4)}]"
MINUTES = 180


class Pool(OwnNodes):
    """A node pool that begins empty, and the service for it."""

    def create_gang(self, provision: int = PROVISION) -> None:
        """A replica with one GPU on each of two nodes. A node without GPUs is there, which its inspection needs."""
        self.add_node(0)
        self.create(provision, parallelism={"tensor": 2, "nodesPerReplica": 2})

    def create(self, provision: int | None = PROVISION, **spec: Any) -> None:
        scheduling = {"maxNodeProvisionSeconds": provision} if provision is not None else {}
        self.create_service(scheduling, replicas=1, **spec)

    def pods(self) -> list[dict[str, Any]]:
        """Pods of all ranks, without those that are being deleted."""
        path = f"/api/v1/namespaces/{self.rolled.namespace}/pods"
        label = f"app.kubernetes.io/instance={self.rolled.name},apps.kubernetes.io/pod-index"
        items = self.cluster.request("GET", path, labelSelector=label).body["items"]
        return [pod for pod in items if not pod["metadata"].get("deletionTimestamp")]

    def held_back(self) -> bool:
        """Whether both pods of the gang exist, behind the gate."""
        found = self.pods()
        return len(found) == 2 and all(pod["spec"].get("schedulingGates") for pod in found)

    def pending(self, count: int) -> list[dict[str, Any]]:
        """That many pods that a node autoscaler sees: unschedulable, without a gate."""

        def look() -> list[dict[str, Any]]:
            found = [pod for pod in self.pods() if _unschedulable(pod)]
            return found if len(found) == count else []

        return wait_until(look, f"{count} unschedulable pods", timeout=MINUTES)

    def report(self, pod: dict[str, Any], reason: str, note: str) -> None:
        """An Event as cluster-autoscaler writes it."""
        meta, now = pod["metadata"], datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{secrets.token_hex(5)}"},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                **{key: meta[key] for key in ("namespace", "name", "uid")},
            },
            "reason": reason,
            "message": note,
            "type": "Normal",
            "source": {"component": "cluster-autoscaler"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        made = self.cluster.request("POST", f"/api/v1/namespaces/{meta['namespace']}/events", event)
        assert made.ok, made.message

    def says(self, kind: str, *texts: str) -> str:
        """The message of a condition, once it has these texts."""

        def look() -> str:
            message = str(self.rolled.condition(kind).get("message", ""))
            return message if all(text in message for text in texts) else ""

        try:
            return wait_until(look, "", timeout=MINUTES)
        except AssertionError:
            raise AssertionError(f"{kind} has not {texts} but {self.rolled.condition(kind)}") from None


def _unschedulable(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return not pod["spec"].get("schedulingGates") and any(each.get("reason") == "Unschedulable" for each in conditions)


def uids(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def stay(pool: Pool, pods: list[dict[str, Any]], seconds: float) -> None:
    """For so long these pods are neither replaced nor rolled back."""
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)

    def look() -> bool:
        assert uids(pods) <= uids(pool.pods())
        assert pool.rolled.condition("RolledOut").get("reason") != "RolledBack", pool.rolled.description()
        return datetime.datetime.now(datetime.UTC) >= end

    wait_until(look, "the node's time", timeout=seconds + 60, every=1)


@pytest.fixture
def pool(cluster: Cluster, watched_namespace: str) -> Iterator[Pool]:
    with Pool.of(cluster, watched_namespace) as made:
        yield made


def test_a_new_service_runs_once_its_node_has_come(pool: Pool) -> None:
    pool.create(provision=None)
    pods = pool.pending(1)
    pool.report(pods[0], "TriggeredScaleUp", TRIGGERED)
    pool.says("Scheduled", f"cluster-autoscaler: {TRIGGERED}")
    stay(pool, pods, COMES_AFTER)
    pool.add_node()
    pool.rolled.settled(1)
    assert uids(pool.pods()) == uids(pods)


def test_a_replica_on_several_nodes_is_shown_to_the_autoscaler_and_keeps_its_first_node(pool: Pool) -> None:
    pool.create_gang()
    pods = pool.pending(2)
    pool.says("Scheduled", "has no node by ")
    stay(pool, pods, COMES_AFTER / 2)
    pool.add_node()
    stay(pool, pods, COMES_AFTER / 2)
    assert sum(bool(pod["spec"].get("nodeName")) for pod in pool.pods()) == 1
    pool.add_node()
    pool.rolled.settled(1)
    assert uids(pool.pods()) == uids(pods)


@pytest.mark.skipif(not FULL, reason="takes some minutes")
def test_a_replica_on_several_nodes_that_waits_in_vain_is_held_back_again(pool: Pool) -> None:
    pool.create_gang(provision=5)
    pods = pool.pending(2)
    wait_until(lambda: pool.held_back(), "new pods wait behind the gate", timeout=MINUTES)
    assert not uids(pods) & uids(pool.pods())
    pool.says("Scheduled", "its gates are removed at ")
    pool.add_node()
    pool.add_node()
    pool.rolled.settled(1, timeout=MINUTES)


@pytest.mark.parametrize("reported", [False, True])
def test_a_rollout_waits_for_its_node(pool: Pool, reported: bool) -> None:
    pool.add_node(**{"nvidia.com/gpu.product": "A"})
    pool.create(None if reported else PROVISION, accelerator={"products": ["A"]}, rollout={"strategy": "InPlace"})
    pool.rolled.settled(1)
    pool.rolled.edit(accelerator={"products": ["B"]})
    pods = pool.pending(1)
    if reported:
        pool.report(pods[0], "TriggeredScaleUp", TRIGGERED)
    pool.says("RolledOut", "waits for a node until ", *([TRIGGERED] if reported else []))
    stay(pool, pods, COMES_AFTER)
    pool.add_node(**{"nvidia.com/gpu.product": "B"})
    pool.rolled.settled(1)
    assert uids(pool.pods()) == uids(pods)


def test_a_rollout_that_was_rolled_back_without_its_node_is_tried_again_when_it_has_come(pool: Pool) -> None:
    pool.add_node(**{"nvidia.com/gpu.product": "A"})
    pool.create(provision=5, accelerator={"products": ["A"]}, rollout={"strategy": "InPlace"})
    pool.rolled.settled(1)
    pool.rolled.edit(accelerator={"products": ["B"]})
    pool.rolled.wait_for("RolledOut", "RolledBack", timeout=MINUTES)
    pool.says("RolledOut", "is tried again when the nodes have room for it")
    if FULL:
        pool.add_node(**{"nvidia.com/gpu.product": "B"})
        pool.rolled.settled(1, timeout=900)
