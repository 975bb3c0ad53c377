"""A StatefulSet whose unchangeable fields change is made anew around its pods."""

from __future__ import annotations

import pytest

from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome
from llmservice_operator.planner.rollout.recreate import taken
from llmservice_operator.resources import names

OLD, NEW = 1024, 2048
DISK = {"size": "100Gi"}


def serving(replicas: int = 3, gpus: int = 3, **spec: object) -> World:
    """A service all of whose replicas answer."""
    service = a_service().with_replicas(replicas).with_spec(model={"maxContextLength": OLD}, **spec)
    world = World(service, gpus)
    world.until_quiet()
    return world


def disks(world: World) -> list[tuple[str, ...]]:
    return [world.pods[number].disks for number in sorted(world.pods)]


def uids(world: World) -> list[str]:
    return [world.pods[number].uid for number in sorted(world.pods)]


def test_a_disk_is_given_to_one_replica_after_the_other() -> None:
    world = serving()
    assert disks(world) == [()] * 3
    world.edit(cache=DISK)
    world.until_quiet()
    assert disks(world) == [("cache",)] * 3
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2]
    assert world.condition("Ready")["status"] == "True"


def test_a_larger_disk_for_later_replicas_restarts_none() -> None:
    world = serving(cache=DISK)
    pods = uids(world)
    world.edit(cache={"size": "200Gi"})
    world.until_quiet()
    assert uids(world) == pods
    (claim,) = world.statefulset["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "200Gi"
    assert world.condition("RolledOut")["status"] == "True"


def test_disks_are_taken_away_one_after_the_other() -> None:
    world = serving(cache=DISK)
    world.edit(cache=None)
    world.until_quiet()
    assert disks(world) == [()] * 3
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2]


@pytest.mark.parametrize(("before", "after"), [(None, DISK), (DISK, None)], ids=["given", "taken"])
def test_a_change_that_fails_goes_back_whatever_the_disks(before: object, after: object) -> None:
    world = serving(cache=before)
    world.change(NEW, Outcome(crashes=True), cache=after)
    world.until_quiet()
    assert world.contexts() == [OLD] * 3 and world.answering == 3
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert {left for _, left, _ in world.taken_down} == {2}


def test_a_new_set_never_has_secrets_that_the_spec_names_no_more() -> None:
    """The admission policy on the operator would refuse it, and the service would be without a StatefulSet."""
    world = serving(access={"apiKeys": {"secretRef": {"name": "before"}}})
    assert ("Secret", "before") in taken(world.statefulset["spec"]["template"])
    after = {"apiKeys": {"secretRef": {"name": "after"}}}
    world.change(NEW, Outcome(crashes=True), cache=DISK, access=after)
    world.until_quiet()
    kept = world.statefulset["metadata"]["annotations"].get(names.LAST_GOOD_ANNOTATION, "")
    assert "before" not in kept
    assert ("Secret", "before") not in taken(world.statefulset["spec"]["template"])


def test_killed_between_release_and_making_anew_the_operator_finds_the_pods_again() -> None:
    world = serving()
    pods = uids(world)
    world.edit(cache=DISK)
    world.dies_after_release = True
    world.operator()
    assert ("StatefulSet", "chat") not in world.children
    world.dies_after_release = False
    world.run(2)
    assert uids(world) == pods, "they are adopted as they are"
    world.until_quiet()
    assert disks(world) == [("cache",)] * 3
    assert [left for _, left, _ in world.taken_down] == [2, 2, 2]
