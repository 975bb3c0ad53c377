"""Replicas on several nodes: their pods are placed, replaced and taken away as one."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builders.services import a_service
from builders.world import World
from builders.world_pods import Outcome, Pod
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.rollout.state import RolloutState
from support.campaign import FULL

EXAMPLES = 200 if FULL else 3
OLD, NEW, BAD = 1024, 2048, 4096
RANKS = [2, 4]


def a_world(
    replicas: int, ranks: int, gpus: int, *, settle: bool = True, on_demand: bool = False, **rollout: object
) -> World:
    """A service whose replicas have a device on each of so many nodes. ``on_demand``: gangs without room are shown to a
    node autoscaler from time to time."""
    service = (
        a_service()
        .from_source("s3://models/chat")
        .read()
        .with_replicas(replicas)
        .spread_over(tensor=ranks, nodes=ranks)
    )
    world = World(service.with_spec(model={"maxContextLength": OLD}, rollout=rollout), gpus)
    if not on_demand:
        world.platform = dataclasses.replace(world.platform, max_node_provision_seconds=0)
    if settle:
        world.until_quiet()
    return world


def of_replica(world: World, number: int) -> list[Pod]:
    return [pods[number] for _, pods in sorted(world.ranks.items()) if number in pods]


def held(world: World, unavailable: int = 1) -> None:
    for when, left, promised in world.taken_down:
        assert left >= promised - unavailable, (when, left, promised)


@pytest.mark.parametrize("ranks", RANKS)
def test_all_of_it_is_placed_or_none(ranks: int) -> None:
    world = a_world(3, ranks, 2 * ranks + ranks - 1)
    assert world.answering == 2
    assert [pod.bound for pod in of_replica(world, 2)] == [False] * ranks
    assert all(pod.gated for pod in of_replica(world, 2))
    reported = world.condition("Scheduled")
    assert (reported["status"], reported["reason"]) == ("False", "SchedulingGated")
    assert f"replica 2 waits until {ranks} of {ranks} pods can get 1 nvidia.com/gpu each" in reported["message"]
    assert f"gpu-0 has {ranks - 1} of {3 * ranks - 1} free" in reported["message"]
    world.gpus += 1
    world.until_quiet()
    assert world.answering == 3
    assert world.condition("Ready")["status"] == "True"
    assert world.service["status"]["gpus"] == 3 * ranks


@pytest.mark.parametrize("ranks", RANKS)
def test_a_half_placed_one_gives_its_nodes_back_within_a_minute_and_tries_again(ranks: int) -> None:
    world = a_world(1, ranks, ranks, settle=False)
    while not any(pod.admitted for pod in world.all_pods):
        world.operator()
        world.controller()
        world.now += 1
    world.gpus = 1  # another pod was first
    begun = world.now
    world.run(10)
    assert sum(pod.bound for pod in world.all_pods) == 1
    while any(pod.bound for pod in world.all_pods):
        world.tick()
    assert world.now - begun <= 60
    reported = world.condition("Scheduled")
    assert (reported["status"], reported["reason"]) == ("False", "PartiallyScheduled")
    assert f"Only 1 of {ranks} pods of replica" in reported["message"]
    world.gpus = ranks
    again = world.now
    while not any(pod.admitted for pod in world.all_pods):
        world.tick()
    assert 55 <= world.now - again <= 125
    world.until_quiet()
    assert world.answering == 1
    assert world.condition("Scheduled")["status"] == "True"


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("spare", [False, True])
def test_a_rollout_replaces_each_as_one(ranks: int, spare: bool) -> None:
    world = a_world(3, ranks, (3 + spare) * ranks)
    before = {pod.uid for pod in world.all_pods}
    world.change(NEW)
    for _ in range(150):
        world.tick()
        for number in world.pods:
            mixed = {pod.environment for pod in of_replica(world, number) if pod.ready}
            assert len(mixed) <= 1
    world.until_quiet()
    held(world, 0 if spare else 1)
    assert world.contexts() == [NEW] * 3
    assert not before & {pod.uid for pod in world.all_pods}
    assert len(world.all_pods) == 3 * ranks
    assert len(world.taken_down) == 3 + spare, "each once, and the one more at the end"
    reported = world.condition("RolledOut")
    assert reported["status"] == "True"


@pytest.mark.parametrize("ranks", RANKS)
def test_one_that_fails_goes_back_as_one(ranks: int) -> None:
    world = a_world(3, ranks, 3 * ranks)
    world.change(BAD, Outcome(crashes=True))
    world.until_quiet()
    held(world)
    assert world.contexts() == [OLD] * 3
    assert {pod.environment for pod in world.all_pods} == {world.pods[0].environment}
    assert world.answering == 3
    reported = world.condition("RolledOut")
    assert reported["reason"] == "RolledBack"
    assert "boom" in reported["message"]
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW] * 3
    assert world.answering == 3


def test_a_pod_that_goes_is_made_and_placed_again_and_no_other_replica_is_touched() -> None:
    world = a_world(2, 4, 8)
    others = {pod.uid for pod in of_replica(world, 1)}
    for rank in range(4):
        gone = world.ranks[rank][0]
        kept = {pod.uid for pod in of_replica(world, 0)} - {gone.uid}
        gone.gone_at = world.now
        world.until_quiet()
        assert world.answering == 2
        now = {pod.uid for pod in of_replica(world, 0)}
        assert kept < now
        assert gone.uid not in now
        assert {pod.uid for pod in of_replica(world, 1)} == others


@pytest.mark.parametrize("down", [8, 15, 40, 300])
@pytest.mark.parametrize("spare", [0, 2])
def test_pods_behind_their_gate_while_there_is_no_operator_are_not_taken_for_homeless(down: int, spare: int) -> None:
    world = a_world(1, 2, 2 + spare)
    first = {pod.uid for pod in of_replica(world, 0)}
    world.change(NEW)
    while not (any(pod.gated and pod.uid not in first for pod in of_replica(world, 0))):
        world.tick()
    world.operator_works = False
    world.run(down)
    world.operator_works = True
    least = world.answering
    for _ in range(200):
        world.tick()
        least = min(least, world.answering)
        assert world.condition("RolledOut").get("reason") != "RolledBack"
    assert least == min(1, spare), "the one more goes once the other one answers"
    assert (world.contexts(), world.answering) == ([NEW], 1)


@pytest.mark.parametrize("on_demand", [False, True])
def test_nor_are_they_where_there_is_no_room_for_a_moment_once_it_is_back(on_demand: bool) -> None:
    world = a_world(1, 2, 4, on_demand=on_demand)
    first = {pod.uid for pod in of_replica(world, 0)}
    world.change(NEW)
    while not any(pod.gated and pod.uid not in first for pod in of_replica(world, 0)):
        world.tick()
    world.operator_works, world.gpus = False, 3
    world.run(60)
    world.operator_works = True
    world.run(8)
    world.gpus = 4
    least = world.answering
    for _ in range(60):
        world.tick()
        least = min(least, world.answering)
    assert (least, world.contexts()) == (1, [NEW])


def test_nor_are_they_where_another_replica_has_had_no_room_for_long() -> None:
    world = a_world(3, 2, 4)
    assert world.condition("Scheduled")["reason"] == "SchedulingGated"
    world.change(NEW)
    while not (world.answering == 1 and any(pod.gated for pod in of_replica(world, 1))):
        world.tick()
    world.operator_works = False
    world.run(300)
    world.operator_works = True
    for _ in range(200):
        world.tick()
        assert world.condition("RolledOut").get("reason") != "RolledBack"
    assert (world.contexts(), world.answering) == ([NEW] * 3, 2)


def test_a_replica_that_waits_for_room_all_the_time_fails_no_rollout_and_holds_none_up() -> None:
    world = a_world(3, 2, 4)
    world.run(600)
    world.change(NEW, Outcome(loads_in=100))
    world.until_quiet()
    held(world, 2)
    assert (world.contexts(), world.answering) == ([NEW] * 3, 2)
    assert world.condition("RolledOut")["status"] == "True"


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("loads_in", "drains_in"), [(150, 2), (100, 200)])
def test_one_that_waited_long_for_room_is_not_failed_while_a_freed_place_is_on_its_way_to_it(
    ranks: int, loads_in: int, drains_in: int
) -> None:
    """The replica without a node takes the place of each replica that is replaced."""
    world = a_world(3, ranks, 2 * ranks, settle=False)
    slow = Outcome(loads_in=loads_in, drains_in=drains_in)
    world.outcomes[OLD] = slow
    world.until_quiet()
    world.change(NEW, slow)
    world.until_quiet()
    assert world.condition("RolledOut")["status"] == "True", world.condition("RolledOut")
    assert (world.contexts(), world.answering) == ([NEW] * 3, 2)


@pytest.mark.parametrize("gone", [[], [1], [0]])
@pytest.mark.parametrize("spare", [0, 1])
def test_a_leaving_replica_counts_as_placed_until_its_nodes_serve_another(gone: list[int], spare: int) -> None:
    world = a_world(3, 2, 4 + spare)
    for rank in (0, 1):
        pod = world.ranks[rank][1]
        pod.grace = 0 if rank in gone else 100
        pod.gone_at = world.now + pod.grace
    world.run(20)
    third = all(pod.bound for pod in of_replica(world, 2))
    assert third == bool(spare and gone)
    state = ServiceState.of(world.observe(None))
    assert state.statefulset is not None
    assert RolloutState.of(state, state.statefulset).placed == (1 if gone == [0] and not third else 2)


def test_nor_does_one_that_releases_a_part_of_its_nodes_count() -> None:
    world = a_world(2, 2, 4, settle=False)
    world.outcomes[OLD] = Outcome(drains_in=100)
    world.until_quiet()
    world.ranks[1][1].bound = False
    for rank in (0, 1):
        world.ranks[rank][1].gone_at = world.now + 100
    state = ServiceState.of(world.observe(None))
    assert state.statefulset is not None
    assert RolloutState.of(state, state.statefulset).placed == 1


def test_a_surge_whose_room_was_taken_goes_on_in_place() -> None:
    world = a_world(2, 2, 6)
    world.change(NEW)
    while not any(pod.gated for pod in of_replica(world, 2)):
        world.tick()
    world.gpus = 5
    began = world.now
    while "strategy InPlace" not in world.condition("RolledOut").get("message", ""):
        world.tick()
        assert world.now < began + 90
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert [left for _, left, _ in world.taken_down] == [1, 1]


@pytest.mark.parametrize("quota", [4, 5])
def test_a_surge_that_a_quota_forbids_in_part_goes_on_in_place(quota: int) -> None:
    world = a_world(2, 2, 6)
    world.quota = quota
    world.change(NEW)
    world.until_quiet()
    assert world.contexts() == [NEW] * 2
    assert len(world.all_pods) == 4
    assert [left for _, left, _ in world.taken_down] == [1, 1]


def test_what_is_gone_back_to_has_its_environment_though_a_quota_lets_no_replica_be_whole() -> None:
    world = a_world(1, 2, 2)
    world.quota = 3
    world.change(NEW, replicas=4, cache={"size": "10Gi"})
    world.run(200)
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert set(world.contexts()) == {OLD}


def test_one_that_is_insisted_on_names_who_forbids_a_part_of_it() -> None:
    world = a_world(2, 2, 6, strategy="Surge")
    world.quota = 5
    world.change(NEW)
    world.run(40)
    assert world.contexts()[:2] == [OLD] * 2
    reported = world.condition("RolledOut")
    assert reported["reason"] == "LeastCapacity"
    assert "it can't be created: ResourceQuota gpus is exceeded" in reported["message"]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (4, 2), (2, 4)])
def test_another_number_of_nodes_is_rolled_out_too(before: int, after: int) -> None:
    service = a_service().from_source("s3://models/chat").read().with_replicas(2).spread_over(tensor=4, nodes=before)
    world = World(service.with_spec(model={"maxContextLength": OLD}), 8)
    world.until_quiet()
    assert world.answering == 2
    world.edit(parallelism={"nodesPerReplica": after})
    world.until_quiet()
    held(world)
    assert world.answering == 2
    assert [len(of_replica(world, number)) for number in (0, 1)] == [after] * 2
    assert len([key for key in world.children if key[0] == "StatefulSet"]) == after
    assert world.condition("Ready")["status"] == "True", world.condition("Ready")


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_and_taken_back_where_it_fails(before: int, after: int) -> None:
    service = a_service().from_source("s3://models/chat").read().with_replicas(2).spread_over(tensor=4, nodes=before)
    world = World(service.with_spec(model={"maxContextLength": OLD}), 8)
    world.until_quiet()
    world.change(BAD, Outcome(crashes=True), parallelism={"nodesPerReplica": after})
    world.until_quiet()
    held(world)
    assert world.answering == 2
    assert world.condition("RolledOut")["reason"] == "RolledBack"
    assert [sum(pod.bound for pod in of_replica(world, number)) for number in (0, 1)] == [before] * 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sampled_from([OLD, NEW, BAD])),
        st.tuples(st.just("scale"), st.integers(0, 4)),
        st.tuples(st.just("wait"), st.integers(1, 60)),
        st.tuples(st.just("lose"), st.integers(0, 7)),
        st.tuples(st.just("lag"), st.integers(1, 8)),
    ),
    max_size=10,
)


@example(2, 1, 2, [("scale", 4), ("change", NEW), ("wait", 44), ("lose", 0), ("wait", 60)], False, False)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    ranks=st.sampled_from(RANKS),
    replicas=st.integers(1, 3),
    spare=st.integers(0, 5),
    steps=STEPS,
    old=st.booleans(),
    on_demand=st.booleans(),
)
def test_in_any_order(
    ranks: int, replicas: int, spare: int, steps: list[tuple[str, int]], old: bool, on_demand: bool
) -> None:
    world = a_world(replicas, ranks, replicas * ranks + spare, on_demand=on_demand)
    world.old_controller = old
    world.outcomes |= {BAD: Outcome(crashes=True), NEW: Outcome(loads_in=15)}
    for what, value in steps:
        match what:
            case "change":
                world.change(value, world.outcomes.get(value))
            case "scale":
                world.edit(replicas=value)
            case "lag":
                world.controller_works = False
                world.run(value)
                world.controller_works = True
            case "lose":
                lost = world.ranks[value % ranks].get(value // ranks)
                if lost is not None:
                    lost.gone_at = world.now
                world.run(90)
        world.run(value if what == "wait" else 1)
        held(world)
    world.edit(replicas=replicas)
    world.gpus = (replicas + 1) * ranks
    world.change(NEW, Outcome())
    world.until_quiet()
    assert world.contexts() == [NEW] * replicas
    assert world.answering == replicas
    assert len(world.all_pods) == replicas * ranks
    assert world.condition("Ready")["status"] == "True", world.condition("Ready")
