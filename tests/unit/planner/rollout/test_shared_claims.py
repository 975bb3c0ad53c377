"""Model claims that pods on one node only, or only one pod, can mount."""

from __future__ import annotations

import pytest

from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome

OLD, NEW = 1024, 2048


def a_world(*modes: str, second: int = 1, gpus: int = 2, **rollout: object) -> World:
    """A service with one replica and a claim of these access modes; of the GPUs, ``second`` are on another node."""
    service = a_service().from_source("pvc://models/chat").read().with_replicas(1)
    world = World(service.with_spec(model={"maxContextLength": OLD}, rollout=rollout), gpus)
    world.access_modes, world.on_second_node = {"models": frozenset(modes)}, second
    world.until_quiet()
    assert world.answering == 1
    return world


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod"])
def test_auto_replaces_in_place_and_names_the_claim(mode: str) -> None:
    world = a_world(mode)
    world.change(NEW, Outcome(loads_in=20))
    world.wait(15)
    message = world.condition("RolledOut")["message"]
    assert "InPlace" in message
    assert f"PersistentVolumeClaim models is {mode}" in message
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([NEW], 1)
    assert world.condition("RolledOut")["status"] == "True"


def test_a_surge_that_the_scheduler_can_only_place_on_the_same_node_is_possible() -> None:
    world = a_world("ReadWriteOnce", second=0)
    world.access_modes = {"models": frozenset({"ReadWriteOnce"})}
    world.change(NEW)
    world.run(3)
    assert "Surge" in world.condition("RolledOut")["message"]


def test_a_second_pod_on_the_same_node_is_not_possible_with_read_write_once_pod() -> None:
    world = a_world("ReadWriteOncePod", second=0)
    world.change(NEW)
    world.run(3)
    assert "InPlace" in world.condition("RolledOut")["message"]


@pytest.mark.parametrize("modes", [("ReadWriteMany",), ("ReadOnlyMany",), ("ReadWriteOnce", "ReadOnlyMany"), ()])
def test_claims_that_several_nodes_mount_allow_a_surge(modes: tuple[str, ...]) -> None:
    world = a_world(*modes)
    world.change(NEW)
    world.run(3)
    assert "Surge" in world.condition("RolledOut")["message"]


def test_with_max_unavailable_0_the_reason_names_the_claim() -> None:
    world = a_world("ReadWriteOnce", maxUnavailable=0)
    world.change(NEW)
    world.run(20)
    assert "PersistentVolumeClaim models is ReadWriteOnce" in world.condition("RolledOut")["message"]
