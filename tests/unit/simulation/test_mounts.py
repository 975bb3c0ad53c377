"""Model claims that pods on one node only, or only one pod, can mount."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from builders.services import a_service, merged
from builders.world import World
from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.simulation.scheduler import ClusterCapacity
from llmservice_operator.simulation.simulate import End, SimulationResult, simulate

ONE_NODE, ONE_POD, MANY_NODES = "ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"


def changed(mode: str, replicas: int = 1, spare: int = 1, after: int | None = None, **rollout: Any) -> SimulationResult:
    """Another context length for a service with a claim of this access mode; the spare GPUs are on a node of their
    own."""
    service = a_service().from_source("pvc://models/chat").read().with_replicas(replicas)
    world = World(service.with_spec(rollout=rollout), replicas)
    world.until_quiet()
    wanted = copy.deepcopy(world.service)
    wanted["spec"] = merged(wanted["spec"], {"model": {"maxContextLength": 2048}, "replicas": after or replicas})
    full = world._node()
    free = dataclasses.replace(full, name="gpu-9", allocatable=dict.fromkeys(full.allocatable, spare), requested={})
    observed = dataclasses.replace(world.observe(None), access_modes={"models": frozenset({mode})})
    return simulate(observed, wanted, ClusterCapacity(nodes=[full, free]))


@pytest.mark.parametrize("mode", [ONE_NODE, ONE_POD])
def test_replicas_are_replaced_in_place_because_of_the_claim(mode: str) -> None:
    found = changed(mode)
    assert [way.strategy for way in found.ways] == [RolloutStrategy.IN_PLACE]
    assert f"PersistentVolumeClaim models is {mode}" in found.ways[0].why
    assert (found.end, found.least_ready) == (End.DONE, 0)


def test_a_claim_of_many_nodes_allows_a_surge_pod() -> None:
    found = changed(MANY_NODES)
    assert [way.strategy for way in found.ways] == [RolloutStrategy.SURGE]
    assert (found.end, found.least_ready) == (End.DONE, 1)


def test_a_surge_pod_on_another_node_never_mounts_a_read_write_once_claim() -> None:
    found = changed(ONE_NODE, strategy="Surge")
    assert found.end in (End.STUCK, End.ROLLED_BACK)
    assert "Multi-Attach" in found.why
    assert not found.succeeds
    assert found.least_ready == 1


def test_a_surge_pod_gets_no_node_with_a_read_write_once_pod_claim() -> None:
    found = changed(ONE_POD, strategy="Surge")
    assert found.end in (End.STUCK, End.ROLLED_BACK)
    assert "ReadWriteOncePod" in found.why
    assert found.least_ready == 1


@pytest.mark.parametrize("mode", [ONE_NODE, ONE_POD])
def test_a_second_replica_on_another_node_does_not_become_ready(mode: str) -> None:
    found = changed(mode, after=2)
    assert (found.end, found.after.ready) == (End.STUCK, 1)
    assert "Multi-Attach" in found.why or "ReadWriteOncePod" in found.why
