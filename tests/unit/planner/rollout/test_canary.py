"""Canaries from their beginning to their end, on a simulated cluster whose gateway counts what a test says."""

from __future__ import annotations

import math
from typing import Any

import pytest

from builders.rolling import BAD, NEW, OLD, serving
from builders.world import World
from builders.world_pods import Outcome
from llmservice_operator.planner.model.canary_counts import CanaryCounts, RequestCounts
from llmservice_operator.resources.platform import Platform

GATEWAY = Platform(gateway_url="http://gateway:9090")
LIMITS = {"maxAddedErrorPercent": 5, "maxLatencyPercent": 200}


def counted(requests: int, failed: int = 0, seconds: float = 0.2) -> RequestCounts:
    """Requests of which the others had times of about so many seconds, by a factor of e more or less."""
    timed, mean = requests - failed, math.log(seconds)
    return RequestCounts(requests, failed, timed, timed * mean, timed * (mean * mean + 1))


def canary_of(replicas: int = 3, gpus: int = 3, platform: Platform = GATEWAY, **canary: Any) -> World:
    """A service whose rollouts have a canary."""
    world = serving(replicas, gpus, canary=canary)
    world.platform = platform
    world.until_quiet()
    return world


def begun(world: World, context: int = NEW, **spec: Any) -> str:
    """Changes the spec; the revision of the canary once it is compared."""
    world.change(context, **spec)
    for _ in range(60):
        world.tick()
        found = split(world)
        if found and context in world.contexts() and world.answering >= world.wanted:
            world.run(2)
            return str(found["revision"])
    raise AssertionError(f"no canary: {world.condition('RolledOut')}")


def split(world: World) -> dict[str, Any]:
    """What the gateway reads."""
    return dict(world.service["status"].get("canary") or {})


def count(world: World, revision: str, canary: RequestCounts, old: RequestCounts, *, braked: bool = False) -> None:
    world.canaries = {revision: CanaryCounts(canary, old, braked)}


def test_the_rollout_waits_after_its_first_replica_and_continues(old_controller: bool) -> None:
    world = canary_of(weight=5, header="x-canary", durationSeconds=60, minRequests=20)
    world.old_controller = old_controller
    revision = begun(world)
    assert split(world) == {"revision": revision, "weight": 5, "header": "x-canary", **LIMITS, "stepPercent": 16}
    count(world, revision, counted(10), counted(190))
    world.run(100)
    assert world.contexts() == [OLD, OLD, NEW], "too few requests"
    message = world.condition("RolledOut")["message"]
    assert "1 of 3 replicas updated" in message and "canary chat-2: 0 of 10 failed, others 0 of 190" in message
    count(world, revision, counted(20), counted(380))
    world.run(10)
    assert not split(world), "all replicas are equal again"
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert world.condition("RolledOut")["reason"] == "RolledOut"


def test_the_split_is_announced_before_the_first_replica_is_replaced() -> None:
    world = canary_of()
    world.change(NEW)
    while not world.taken_down:
        announced = bool(split(world).get("weight"))
        world.tick()
    assert announced


def test_with_a_surge_the_extra_replica_is_the_canary() -> None:
    world = canary_of(1, gpus=2, durationSeconds=30, minRequests=5)
    revision = begun(world)
    assert world.contexts() == [OLD, NEW] and split(world)["weight"] == 5
    count(world, revision, counted(5), counted(95))
    world.until_quiet()
    assert world.contexts() == [NEW] and not split(world)


@pytest.mark.parametrize("replicas,gpus", [(3, 3), (2, 3)])
def test_a_canary_that_the_gateway_has_stopped_is_rolled_back_at_once(replicas: int, gpus: int) -> None:
    world = canary_of(replicas, gpus)
    revision = begun(world)
    count(world, revision, counted(3, 3), counted(57), braked=True)
    world.run(7)
    assert split(world) in ({}, {"revision": revision, "weight": 0, **LIMITS, "stepPercent": 100})
    world.until_quiet()
    assert world.contexts() == [OLD] * replicas and not split(world)
    reported = world.condition("RolledOut")
    assert reported["reason"] == "RolledBack"
    assert "3 of 3 requests to it failed, and 0 of 57 to the other replicas" in reported["message"]
    (found,) = world.service["status"]["findings"]
    assert found["reason"] == "CanaryFailed"
    world.run(100)
    assert world.contexts() == [OLD] * replicas, "not tried again"


def test_while_a_failed_canary_still_runs_it_gets_no_requests() -> None:
    world = canary_of(3, 3)
    revision = begun(world)
    count(world, revision, counted(40, 20), counted(700))
    for _ in range(60):
        world.tick()
        if world.condition("RolledOut")["reason"] == "RolledBack" and NEW in world.contexts():
            assert split(world)["weight"] == 0
    assert world.contexts() == [OLD] * 3


def test_a_failure_that_may_be_a_coincidence_decides_only_at_the_end() -> None:
    world = canary_of(durationSeconds=60, minRequests=20)
    revision = begun(world)
    count(world, revision, counted(19, 2), counted(300))
    world.run(80)
    assert world.contexts() == [OLD, OLD, NEW]
    count(world, revision, counted(20, 2), counted(300))
    world.until_quiet()
    assert world.contexts() == [OLD] * 3


def test_failures_that_the_old_replicas_have_too_are_no_reason() -> None:
    world = canary_of(durationSeconds=60, minRequests=20)
    revision = begun(world)
    count(world, revision, counted(100, 22), counted(1000, 200))
    world.until_quiet()
    assert world.contexts() == [NEW] * 3


def test_a_slow_canary_is_rolled_back() -> None:
    world = canary_of(durationSeconds=3000, maxLatencyPercent=150)
    revision = begun(world)
    count(world, revision, counted(100, seconds=0.9), counted(2000, seconds=0.2))
    world.until_quiet()
    assert world.contexts() == [OLD] * 3
    message = world.condition("RolledOut")["message"]
    assert "0.9 s (geometric mean of 100 requests)" in message and "0.2 s; 150 % of it" in message


def test_a_canary_gets_its_whole_weight_once_it_has_answered_well() -> None:
    world = canary_of(durationSeconds=3000)
    revision = begun(world)
    count(world, revision, counted(28), counted(3400))
    world.run(6)
    assert split(world)["stepPercent"] == 16
    assert "16 % of its weight until it has answered more" in world.condition("RolledOut")["message"]
    count(world, revision, counted(29), counted(3500))
    world.run(6)
    assert split(world)["stepPercent"] == 100
    assert "of its weight" not in world.condition("RolledOut")["message"]
    count(world, revision, counted(29, 3), counted(3500))
    world.run(6)
    assert split(world)["stepPercent"] == 100, "it is not taken back"


def test_a_canary_whose_times_are_long_keeps_its_first_step() -> None:
    world = canary_of(durationSeconds=3000)
    revision = begun(world)
    world.canaries = {revision: CanaryCounts(counted(40), counted(4000), ranked=40, slow=17)}
    world.run(6)
    assert split(world)["stepPercent"] == 16


@pytest.mark.parametrize(("ranked", "slow", "braked"), [(8, 8, False), (40, 26, False), (7, 6, True)])
def test_a_canary_with_long_times_is_rolled_back_before_the_end(ranked: int, slow: int, braked: bool) -> None:
    world = canary_of(durationSeconds=3000)
    revision = begun(world)
    world.canaries = {revision: CanaryCounts(counted(ranked), counted(900), braked, ranked, slow)}
    world.until_quiet()
    assert world.contexts() == [OLD] * 3
    assert f"{slow} of {ranked} times to its first byte are above 200 %" in world.condition("RolledOut")["message"]


def test_with_few_requests_the_spec_decides() -> None:
    for on_few, contexts in (("Continue", [NEW] * 3), ("Wait", [OLD, OLD, NEW])):
        world = canary_of(durationSeconds=30, deadlineSeconds=120, onFewRequests=on_few)
        count(world, begun(world), counted(2), counted(30))
        world.run(90)
        assert world.contexts() == [OLD, OLD, NEW]
        world.run(100)
        assert world.contexts() == contexts


def test_counts_that_can_not_be_read_are_not_few_requests() -> None:
    world = canary_of(durationSeconds=30, deadlineSeconds=60)
    begun(world)
    world.canaries = None
    world.run(200)
    assert world.contexts() == [OLD, OLD, NEW]
    assert "the counts of the gateway can't be read" in world.condition("RolledOut")["message"]


@pytest.mark.parametrize("platform", [Platform(), Platform(gateway_url="http://gw:9090", gateway_namespaces=("b",))])
def test_without_a_gateway_there_is_no_canary_and_the_condition_says_so(platform: Platform) -> None:
    world = canary_of(platform=platform)
    world.change(NEW)
    world.run(3)
    assert "no canary: no NGINX gateway serves this namespace" in world.condition("RolledOut")["message"]
    world.until_quiet()
    assert world.contexts() == [NEW] * 3


def test_a_single_replica_in_place_has_no_canary() -> None:
    world = canary_of(1, gpus=1)
    world.change(NEW)
    world.run(1)
    world.until_quiet()
    assert world.contexts() == [NEW] and not split(world)


def test_without_the_field_the_rollout_continues_at_once() -> None:
    world = canary_of()
    begun(world)
    world.edit(rollout={"canary": None})
    world.until_quiet()
    assert world.contexts() == [NEW] * 3 and not split(world)


def test_pause_keeps_a_failed_canary_without_requests() -> None:
    world = canary_of()
    world.edit(rollout={"onFailure": "Pause"})
    revision = begun(world)
    count(world, revision, counted(3, 3), counted(57), braked=True)
    world.run(10)
    world.canaries = {}
    world.run(400)
    assert world.contexts() == [OLD, OLD, NEW] and split(world)["weight"] == 0
    assert world.condition("RolledOut")["reason"] == "RolloutFailed"


def test_a_return_to_the_old_spec_sends_the_canary_nothing() -> None:
    world = canary_of()
    revision = begun(world)
    world.change(OLD)
    for _ in range(30):
        world.tick()
        if NEW in world.contexts():
            assert split(world)["revision"] == revision
    assert world.contexts() == [OLD] * 3
    world.until_quiet()
    assert not split(world) and world.condition("RolledOut")["reason"] == "RolledOut"


def test_another_change_replaces_the_canary_which_gets_nothing_meanwhile() -> None:
    world = canary_of(durationSeconds=30, minRequests=5)
    first = begun(world)
    world.change(BAD)
    for _ in range(40):
        world.tick()
        found = split(world)
        if NEW in world.contexts() and found["revision"] != first:
            assert found["excludedRevision"] == first
    assert world.contexts() == [OLD, OLD, BAD]
    count(world, split(world)["revision"], counted(5), counted(95))
    world.until_quiet()
    assert world.contexts() == [BAD] * 3 and not split(world)


def test_a_canary_that_never_starts_is_rolled_back_as_without_one() -> None:
    world = canary_of()
    world.change(BAD, Outcome(crashes=True, says="head size 80 is not supported"))
    world.until_quiet()
    assert world.contexts() == [OLD] * 3 and not split(world)
    assert "head size 80" in world.condition("RolledOut")["message"]


def test_a_restart_of_the_operator_changes_nothing() -> None:
    world = canary_of(durationSeconds=60, minRequests=5)
    revision = begun(world)
    world.operator_works = False
    world.run(120)
    assert world.contexts() == [OLD, OLD, NEW] and split(world)["weight"] == 5
    world.operator_works = True
    count(world, revision, counted(50), counted(900))
    world.until_quiet()
    assert world.contexts() == [NEW] * 3


def test_a_service_without_the_field_has_no_split() -> None:
    world = serving(3, 3)
    world.platform = GATEWAY
    world.change(NEW)
    for _ in range(30):
        world.tick()
        assert not split(world)
