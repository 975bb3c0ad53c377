"""Replicas on several nodes by the real operator, scheduler and controllers: placed, replaced and healed as one.

Pods are kwok's: what an engine on several nodes does inside them is shown elsewhere.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from support.campaign import FULL
from support.cluster import Cluster, wait_until
from support.own_nodes import OwnNodes
from support.rollouts import AT_ONCE, BROKEN, SLOW, PodWatch

pytestmark = pytest.mark.own_nodes

KILLS = 20 if FULL else 4
RANKS = [2, 4] if FULL else [4]


class Site(OwnNodes):
    """A service whose replicas have one GPU on each of several nodes."""

    def create(self, replicas: int, ranks: int, *, settle: bool = True, **spec: Any) -> None:
        parallelism = {"tensor": ranks, "nodesPerReplica": ranks}
        self.create_service(spec.pop("scheduling", {}), replicas=replicas, parallelism=parallelism, **spec)
        if settle:
            self.rolled.settled(replicas)

    def replica(self, number: int) -> list[dict[str, Any]]:
        """Its pods by rank, those on their way out left out."""
        label = f"app.kubernetes.io/instance={self.rolled.name},apps.kubernetes.io/pod-index={number}"
        path = f"/api/v1/namespaces/{self.rolled.namespace}/pods"
        items = self.cluster.request("GET", path, labelSelector=label).body["items"]
        there = [pod for pod in items if not pod["metadata"].get("deletionTimestamp")]
        return sorted(there, key=lambda pod: str(pod["metadata"]["labels"]["llmservice.dev/rank"]))

    def uids(self, number: int) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.replica(number)}

    def whole(self, number: int, ranks: int) -> bool:
        """Whether all of it runs, and with one environment."""
        pods = self.replica(number)
        environments = {pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"] for pod in pods}
        ready = [
            each
            for pod in pods
            for each in pod["status"].get("conditions") or ()
            if each["type"] == "Ready" and each["status"] == "True"
        ]
        return len(pods) == len(ready) == ranks and len(environments) == 1

    def delete(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        answer = self.cluster.request(
            "DELETE", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", gracePeriodSeconds="0"
        )
        assert answer.ok, answer.message


@pytest.fixture
def site(cluster: Cluster, watched_namespace: str) -> Iterator[Site]:
    with Site.of(cluster, watched_namespace) as made:
        yield made


def nodes_of(pods: list[dict[str, Any]]) -> list[str | None]:
    return [pod["spec"].get("nodeName") for pod in pods]


def test_a_replica_is_placed_whole_or_not_at_all(site: Site) -> None:
    for _ in range(3):
        site.add_node(1)
    site.create(2, 2, settle=False)
    held_back = "replica 1 waits until 2 of 2 pods can get 1 nvidia.com/gpu each"
    wait_until(lambda: held_back in site.rolled.condition("Scheduled").get("message", ""), held_back)
    assert site.rolled.condition("Ready")["reason"] == "SchedulingGated"
    assert None not in nodes_of(site.replica(0))
    assert nodes_of(site.replica(1)) == [None, None]
    assert site.rolled.get()["status"]["gpus"] == 4
    site.add_node(1)
    site.rolled.settled(2)
    pods = [*site.replica(0), *site.replica(1)]
    assert sorted(str(node) for node in nodes_of(pods)) == sorted(site.nodes)
    found = [variable["name"] for variable in pods[1]["spec"]["containers"][0]["env"]]
    assert {"NODE_RANK", "MASTER_ADDRESS", "POD_INDEX", "VLLM_HOST_IP"} == set(found)


@pytest.mark.campaign
def test_a_half_placed_replica_gives_its_gpus_back_within_a_minute(site: Site) -> None:
    """The devices would do, and the nodes' CPU does not: only the scheduler can tell."""
    site.add_node(2)
    site.create(1, 2, settle=False, resources={"cpu": "40"})
    # The nodes may have been looked at just before this one was added: 30 s later they are again.
    half = [True, False]
    wait_until(lambda: sorted(map(bool, nodes_of(site.replica(0))), reverse=True) == half, "half is placed", timeout=60)
    reported = site.rolled.wait_for("Scheduled", "PartiallyScheduled", timeout=60)
    assert "Only 1 of 2 pods of replica 0 could be scheduled. Released its nodes" in reported["message"]
    wait_until(lambda: nodes_of(site.replica(0)) == [None, None], "both behind the gate", timeout=20)
    if FULL:  # it takes one to two minutes
        site.rolled.edit(resources={"cpu": AT_ONCE})
        site.rolled.settled(1, timeout=180)


def test_its_pods_are_near_each_other_where_that_is_asked_for(site: Site) -> None:
    for block in ("a", "a", "b", "b"):
        site.add_node(1, block=block)
    site.create(2, 2, scheduling={"groupWithin": "block"})
    blocks = {
        node["metadata"]["name"]: node["metadata"]["labels"]["block"]
        for node in site.cluster.request("GET", "/api/v1/nodes", labelSelector=f"group={site.group}").body["items"]
    }
    for number in range(2):
        assert len({blocks[str(node)] for node in nodes_of(site.replica(number))}) == 1


@pytest.mark.campaign
@pytest.mark.parametrize("ranks", RANKS)
def test_a_rollout_moves_it_as_one_and_back(site: Site, ranks: int) -> None:
    for _ in range(ranks):
        site.add_node(2)
    site.create(2, ranks)
    before = site.uids(0) | site.uids(1)
    with PodWatch(site.rolled) as watch:
        site.rolled.change(2048, SLOW)
        site.rolled.settled(2)
        assert watch.least() == 1
        wait_until(lambda: site.whole(0, ranks) and site.whole(1, ranks), "ranks that answer no requests, ready too")
        after = site.uids(0) | site.uids(1)
        assert not before & after
        site.rolled.change(4096, BROKEN)
        site.rolled.wait_for("RolledOut", "RolledBack")
        site.rolled.wait_for("Serving", "Serving")
        wait_until(lambda: site.whole(0, ranks) and site.whole(1, ranks), "both as before", timeout=60)
        assert watch.least() == 1
    assert site.rolled.cpus() == [SLOW] * 2


@pytest.mark.parametrize("ranks", RANKS)
def test_a_pod_that_goes_comes_back_and_no_other_replica_is_touched(site: Site, ranks: int) -> None:
    for _ in range(ranks):
        site.add_node(2)
    site.create(2, ranks)
    chance = random.Random(seed := secrets.randbits(32))
    other = site.uids(1)
    for _ in range(KILLS):
        gone = chance.choice(site.replica(0))
        site.delete(gone)
        wait_until(
            lambda uid=gone["metadata"]["uid"]: uid not in site.uids(0) and site.whole(0, ranks),
            f"whole again (seed {seed})",
            timeout=60,
        )
        assert site.uids(1) == other
    site.rolled.settled(2)
