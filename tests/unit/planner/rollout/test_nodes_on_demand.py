"""Nodes that a node autoscaler adds for pending pods, some minutes later."""

from __future__ import annotations

import dataclasses
import datetime
import itertools

import pytest

from builders.observed import NOON
from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome, Pod
from llmservice_operator.planner.diagnosis import node_autoscaler
from llmservice_operator.planner.model.observed import ObservedEvent
from llmservice_operator.resources import names
from support.campaign import FULL

OLD, NEW = 1024, 2048
TRIGGERED = "pod triggered scale-up: [{gpu-b 0->1 (max: 4)}]"
NOT_TRIGGERED = "pod didn't trigger scale-up: 1 max node group size reached"
NOMINATED = "Pod should schedule on: nodeclaim/gpu-x7k2p"
FAILED = 'Failed to schedule pod, incompatible with nodepool "gpu", no instance type has enough resources'


def a_world(
    replicas: int, gpus: int, *, platform: int | None = None, own: int | None = None, **rollout: object
) -> World:
    """A service with a GPU for each replica; ``platform`` and ``own``: maxNodeProvisionSeconds."""
    service = a_service().from_source("s3://models/chat").read().with_replicas(replicas)
    scheduling = {"maxNodeProvisionSeconds": own} if own is not None else {}
    spec = {"model": {"maxContextLength": OLD}, "rollout": rollout, "scheduling": scheduling}
    world = World(service.with_spec(**spec), gpus)
    world.platform = dataclasses.replace(world.platform, max_node_provision_seconds=platform)
    world.until_quiet()
    assert world.answering == min(replicas, gpus)
    return world


def two_gpus(world: World, **more: object) -> None:
    """Each replica then needs a node with two GPUs, which the cluster lacks."""
    world.change(NEW, Outcome(), **{"parallelism": {"tensor": 2}} | more)
    world.tick()


def says(world: World, reason: str, note: str, *pods: Pod) -> None:
    """What the node autoscaler reports about these pods."""
    for pod in pods:
        name = f"{names.engine_statefulset('chat', pod.rank)}-{pod.number}"
        now = NOON + datetime.timedelta(seconds=world.now)
        world.events.append(ObservedEvent("Pod", name, pod.uid, reason, note, now))


def pending(world: World) -> list[Pod]:
    while not (found := [pod for pod in world.all_pods if not pod.bound and pod.gone_at is None]):
        world.tick()
    return found


@pytest.mark.parametrize(("platform", "own"), [(900, None), (None, 900), (0, 900), (60, 900)])
def test_a_rollout_waits_as_long_as_the_setting_says(platform: int | None, own: int | None) -> None:
    world = a_world(1, 1, platform=platform, own=own)
    two_gpus(world)
    world.wait(600)
    message = world.condition("RolledOut")["message"]
    assert "chat-0 waits for a node until 2026-" in message
    world.gpus = 2
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([NEW], 1)
    assert world.condition("RolledOut")["status"] == "True"


@pytest.mark.parametrize(("reason", "note"), [("TriggeredScaleUp", TRIGGERED), ("Nominated", NOMINATED)])
def test_a_rollout_waits_while_an_autoscaler_adds_nodes(reason: str, note: str) -> None:
    world = a_world(1, 1)
    two_gpus(world)
    says(world, reason, note, *pending(world))
    world.wait(600)
    assert note in world.condition("RolledOut")["message"]
    assert note in world.condition("Scheduled")["message"]
    world.gpus = 2
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([NEW], 1)


@pytest.mark.parametrize(
    ("reason", "note", "platform"),
    [
        ("NotTriggerScaleUp", NOT_TRIGGERED, None),
        ("FailedScheduling", FAILED, None),
        ("FailedScheduling", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", None),
        ("TriggeredScaleUp", TRIGGERED, 0),
    ],
)
def test_it_waits_two_minutes_if_none_are_added(reason: str, note: str, platform: int | None) -> None:
    world = a_world(1, 1, platform=platform)
    two_gpus(world)
    says(world, reason, note, *pending(world))
    begun = world.now
    while world.condition("RolledOut")["reason"] != "RolledBack":
        world.tick()
        assert world.now < begun + 200
    assert world.now > begun + 100
    assert platform == 0 or note in world.condition("RolledOut")["message"]


def test_an_event_about_an_earlier_pod_of_the_same_name_says_nothing() -> None:
    world = a_world(1, 1)
    says(world, "TriggeredScaleUp", TRIGGERED, world.pods[0])
    two_gpus(world)
    pending(world)
    world.wait(200)
    assert world.condition("RolledOut")["reason"] == "RolledBack"


def test_an_autoscaler_that_never_gets_a_machine_ends_the_rollout_within_four_periods() -> None:
    world = a_world(1, 1, own=100)
    two_gpus(world)
    begun = world.now
    while world.condition("RolledOut")["reason"] != "RolledBack":
        if world.now % 60 == 0:
            says(world, "TriggeredScaleUp", TRIGGERED, *pending(world))
        world.tick()
        assert world.now < begun + node_autoscaler.MOST_PERIODS * 100 + 30
    assert world.now > begun + 300


def test_a_new_service_waits_for_its_first_node_and_says_what_the_autoscaler_reports() -> None:
    service = a_service().from_source("s3://models/chat").read().with_replicas(1)
    world = World(service.with_spec(model={"maxContextLength": OLD}), 0)
    world.run(5)
    says(world, "TriggeredScaleUp", TRIGGERED, *pending(world))
    world.wait(1200)
    assert TRIGGERED in world.condition("Scheduled")["message"]
    world.gpus = 1
    world.until_quiet()
    assert world.condition("Ready")["status"] == "True"


def test_a_pod_that_waited_for_its_node_has_its_whole_time_to_start() -> None:
    world = a_world(1, 1, own=900)
    world.change(NEW, Outcome(loads_in=100, pulls_in=280), parallelism={"tensor": 2})
    world.wait(800)
    world.gpus = 2
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([NEW], 1)


def a_gang(replicas: int, gpus: int, *, ranks: int = 2, own: int | None = None, settle: bool = True) -> World:
    """A service whose replicas have a GPU on each of so many nodes."""
    service = a_service().from_source("s3://models/chat").read().with_replicas(replicas)
    scheduling = {"maxNodeProvisionSeconds": own} if own is not None else {}
    spread = service.spread_over(tensor=ranks, nodes=ranks)
    world = World(spread.with_spec(model={"maxContextLength": OLD}, scheduling=scheduling), gpus)
    if settle:
        world.until_quiet()
    return world


def ungated(world: World) -> list[Pod]:
    """The pods that a node autoscaler sees, once there are any."""
    begun = world.now
    while not (found := [pod for pod in world.all_pods if not pod.bound and not pod.gated and pod.gone_at is None]):
        world.tick()
        assert world.now < begun + 4000
    return found


@pytest.mark.parametrize("reports", [False, True])
def test_a_gang_without_room_is_shown_to_the_autoscaler_and_waits_for_its_nodes(reports: bool) -> None:
    world = a_gang(1, 0, own=None if reports else 900, settle=False)
    begun = world.now
    seen = ungated(world)
    assert len(seen) == 2
    assert world.now - begun <= 45
    if reports:
        says(world, "TriggeredScaleUp", TRIGGERED, seen[0])
    world.wait(600)
    assert {pod.uid for pod in ungated(world)} == {pod.uid for pod in seen}
    message = world.condition("Scheduled")["message"]
    assert "has no node by 2026-" in message
    assert (TRIGGERED in message) == reports
    world.gpus = 1
    world.wait(100)
    assert sum(pod.bound for pod in world.all_pods) == 1, "the first of the new nodes is kept"
    world.gpus = 2
    world.until_quiet()
    assert world.answering == 1
    assert {pod.uid for pod in world.all_pods} == {pod.uid for pod in seen}
    assert world.condition("Ready")["status"] == "True"


def test_without_an_autoscaler_it_is_held_back_again_and_tried_ever_more_rarely() -> None:
    world = a_gang(1, 1, settle=False)
    tries, held = [], 0
    while world.now < (10_000 if FULL else 6000):
        before = world.now
        world.wait(30)
        free = [pod for pod in world.all_pods if not pod.gated and pod.gone_at is None]
        held += (world.now - before) if any(pod.bound for pod in free) else 0
        if free and (not tries or free[0].uid not in tries[-1][1]):
            tries.append((world.now, {pod.uid for pod in free}))
    times = [time for time, _ in tries]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 4 <= len(times) <= 12
    assert all(gap <= later * 1.3 or later > 1700 for gap, later in itertools.pairwise(gaps)), gaps
    assert held <= 60 * len(times)
    reported = world.condition("Scheduled")
    assert (reported["status"], reported["reason"]) == ("False", "SchedulingGated")
    assert "its gates are removed at 2026-" in reported["message"]
    world.gpus = 2
    world.until_quiet()
    assert world.answering == 1


def test_with_0_seconds_no_gang_is_shown_to_an_autoscaler() -> None:
    world = a_gang(1, 1, own=0, settle=False)
    for _ in range(40):
        world.wait(100)
        assert all(pod.gated for pod in world.all_pods)
    world.gpus = 2
    world.until_quiet()
    assert world.answering == 1


def test_a_gang_that_gets_only_a_part_of_its_nodes_in_time_releases_them_and_is_tried_again() -> None:
    world = a_gang(1, 0, own=200, settle=False)
    first = {pod.uid for pod in ungated(world)}
    world.gpus, begun = 1, world.now
    while first & {pod.uid for pod in world.all_pods}:
        world.tick()
    assert 190 <= world.now - begun <= 220
    world.run(2)
    assert all(pod.gated for pod in world.all_pods)
    assert "Only 1 of 2 pods" in world.condition("Scheduled")["message"]
    ungated(world)
    world.gpus = 2
    world.until_quiet()
    assert world.answering == 1


def test_a_replica_that_waits_for_new_nodes_keeps_no_other_from_its_own() -> None:
    world = a_gang(3, 4, own=3000)
    shown = ungated(world)
    assert {pod.number for pod in shown} == {2}
    world.wait(100)
    world.pods[0].gone_at = world.now
    world.wait(250)
    assert world.answering == 2
    assert not any(pod.bound for pod in world.all_pods if pod.number == 2)


@pytest.mark.parametrize("reports", [False, True])
def test_a_rollout_of_a_gang_waits_for_new_nodes(reports: bool) -> None:
    world = a_gang(1, 2, own=None if reports else 900)
    two_gpus(world, parallelism={"tensor": 4, "nodesPerReplica": 2})
    if reports:
        says(world, "Nominated", NOMINATED, *ungated(world))
    world.wait(600)
    assert "waits for a node until 2026-" in world.condition("RolledOut")["message"]
    world.gpus = 4
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([NEW], 1)
    assert world.condition("RolledOut")["status"] == "True"


def rolled_back(world: World) -> None:
    begun = world.now
    while world.condition("RolledOut")["reason"] != "RolledBack" or world.answering == 0:
        world.tick()
        assert world.now < begun + 600


@pytest.mark.parametrize("gang", [False, True])
def test_a_rollout_that_failed_for_want_of_nodes_is_tried_again_when_they_have_come(gang: bool) -> None:
    world = a_gang(1, 2) if gang else a_world(1, 1)
    two_gpus(world, **({"parallelism": {"tensor": 4, "nodesPerReplica": 2}} if gang else {}))
    rolled_back(world)
    assert "tried again when the nodes have room" in world.condition("RolledOut")["message"]
    world.wait(3600)
    assert world.contexts() == [OLD]
    world.gpus *= 2
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([NEW], 1)
    assert world.condition("RolledOut")["status"] == "True"
    assert world.condition("Ready")["status"] == "True"


def test_it_is_tried_again_at_most_five_times_and_ever_more_rarely() -> None:
    world = a_world(1, 2)
    world.unusable = 1
    two_gpus(world)
    starts, before = [], [OLD]
    for _ in range(1400 if FULL else 500):
        world.wait(30)
        if world.contexts() == [NEW] != before:
            starts.append(world.now)
        before = world.contexts()
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(starts) == 6
    assert gaps == sorted(gaps)
    assert gaps[0] >= 300
    assert world.contexts() == [OLD]
    assert world.condition("RolledOut")["message"].endswith("not retried until it changes.")
    world.unusable = 0
    world.edit(model={"maxContextLength": 4096})
    world.until_quiet()
    assert (world.contexts(), world.answering) == ([4096], 1)


def test_a_spec_that_crashes_is_not_tried_again() -> None:
    world = a_world(1, 2)
    world.change(NEW, Outcome(crashes=True))
    world.wait(600)
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    world.gpus = 8
    world.wait(7200)
    assert world.contexts() == [OLD]
    assert world.condition("RolledOut")["message"].endswith("not retried until it changes.")
