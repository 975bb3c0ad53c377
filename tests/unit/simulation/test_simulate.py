"""The simulation of a change: which replicas go, in which order, how many answer on how many GPUs, what stops it."""

from __future__ import annotations

import copy
import dataclasses
from fractions import Fraction
from typing import Any

import pytest

from builders.services import ServiceBuilder, a_service, merged
from builders.world import World
from llmservice_contract.inspection import ModelFacts
from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.resources.platform import Adapter, Platform
from llmservice_operator.simulation.diff import Change
from llmservice_operator.simulation.scheduler import ClusterCapacity, Quota
from llmservice_operator.simulation.simulate import End, SimulationResult, simulate
from llmservice_operator.simulation.timeline import Action, UpdateWay

LONGER = {"model": {"maxContextLength": 2048}}
START, MORE, REPLACE, BACK, STOP, AGAIN = (
    Action.START,
    Action.START_SURGE,
    Action.REPLACE,
    Action.ROLL_BACK,
    Action.STOP,
    Action.STOP_SURGE,
)


def serving(replicas: int, gpus: int, service: ServiceBuilder | None = None, **spec: Any) -> World:
    """A service all of whose replicas answer, on a node with so many GPUs."""
    chosen = (service or a_service().from_source("s3://models/chat").read()).with_replicas(replicas).with_spec(**spec)
    world = World(chosen, gpus)
    world.until_quiet()
    return world


def look(world: World, change: dict[str, Any], **ground: Any) -> SimulationResult:
    """The simulation of a change of the spec."""
    wanted = copy.deepcopy(world.service)
    wanted["spec"] = merged(wanted["spec"], change)
    return simulate(world.observe(None), wanted, ClusterCapacity(nodes=[world._node()], **ground))


@dataclasses.dataclass(frozen=True)
class Row:
    """A change, and what comes of it. ``way``: what happens to which replicas, in order."""

    name: str
    replicas: int
    gpus: int
    change: dict[str, Any]
    way: list[tuple[Action, set[int]]]
    least: int
    most: int
    end: End = End.DONE
    spec: dict[str, Any] = dataclasses.field(default_factory=dict)


ROWS = [
    Row("no spare GPU", 3, 3, LONGER, [(REPLACE, {2}), (REPLACE, {1}), (REPLACE, {0})], 2, 3),
    Row("a spare GPU", 2, 3, LONGER, [(MORE, {2}), (REPLACE, {1}), (REPLACE, {0}), (AGAIN, {2})], 2, 3),
    Row("a single one without a spare GPU", 1, 1, LONGER, [(REPLACE, {0})], 0, 1),
    Row("more replicas", 1, 3, {"replicas": 3}, [(START, {1, 2})], 1, 3),
    Row("fewer replicas", 3, 3, {"replicas": 1}, [(STOP, {1, 2})], 1, 3),
    Row(
        "fewer replicas, changed, and one more on what they leave",
        3,
        3,
        LONGER | {"replicas": 1},
        [(STOP, {1, 2}), (MORE, {1}), (REPLACE, {0}), (AGAIN, {1})],
        1,
        3,
        End.DONE,
        {"rollout": {"strategy": "Surge"}},
    ),
    Row(
        "fewer replicas, changed, and one more where they leave room",
        3,
        3,
        LONGER | {"replicas": 1},
        [(STOP, {1, 2}), (MORE, {1}), (REPLACE, {0}), (AGAIN, {1})],
        1,
        3,
    ),
    Row("none", 2, 2, {"replicas": 0}, [(STOP, {0, 1})], 0, 2),
    Row("more than there are GPUs", 2, 3, {"replicas": 4}, [(START, {2, 3})], 2, 3, End.STUCK),
    Row("a disk each", 2, 3, {"cache": {"size": "1Gi"}}, [(REPLACE, {0}), (REPLACE, {1})], 1, 2),
    Row("caps alone", 2, 3, {"access": {"caps": {"maxTokens": 7}}}, [], 2, 2),
    Row("paused", 2, 3, LONGER | {"rollout": {"paused": True}}, [], 2, 2, End.PAUSED),
    Row(
        "Surge where nothing is free",
        2,
        2,
        LONGER,
        [(MORE, {2})],
        2,
        2,
        End.STUCK,
        {"rollout": {"strategy": "Surge"}},
    ),
    Row(
        "more GPUs each than the node has",
        1,
        2,
        {"parallelism": {"tensor": 4}},
        [(REPLACE, {0}), (BACK, {0})],
        0,
        1,
        End.ROLLED_BACK,
    ),
    Row(
        "two nodes each",
        2,
        4,
        LONGER,
        [(REPLACE, {1}), (REPLACE, {0})],
        1,
        4,
        End.DONE,
        {"parallelism": {"tensor": 2, "nodesPerReplica": 2}},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_way_and_the_end(row: Row) -> None:
    seen = look(serving(row.replicas, row.gpus, **row.spec), row.change)
    assert [(step.action, set(step.replicas)) for step in seen.steps] == row.way
    assert (seen.least_ready, seen.most_devices, seen.end) == (row.least, row.most, row.end)
    assert seen.succeeds == (row.end in (End.DONE, End.PAUSED))
    assert bool(seen.why) == (row.end is not End.DONE)


def test_each_step_tells_how_many_answer_and_how_many_gpus_are_held_meanwhile() -> None:
    seen = look(serving(2, 4), LONGER | {"replicas": 3})
    assert [(step.pods, step.ready, step.devices) for step in seen.steps] == [
        (("chat-2",), 2, 3),
        (("chat-3",), 2, 4),
        (("chat-2",), 3, 4),
        (("chat-1",), 3, 4),
        (("chat-0",), 3, 4),
        (("chat-3",), 3, 4),
    ]


def test_a_replica_on_two_nodes_goes_with_all_its_pods() -> None:
    world = serving(1, 4, parallelism={"tensor": 2, "nodesPerReplica": 2})
    seen = look(world, LONGER)
    assert [set(step.pods) for step in seen.steps] == [
        {"chat-1", "chat-r1-1"},
        {"chat-0", "chat-r1-0"},
        {"chat-1", "chat-r1-1"},
    ]
    assert seen.least_ready == 1


def test_the_same_spec_changes_nothing() -> None:
    seen = look(serving(2, 3), {})
    assert not seen.changes
    assert (seen.steps, seen.children, seen.spec) == ((), (), ())


def test_a_quota_that_forbids_the_one_more_is_told() -> None:
    said = (
        "ResourceQuota team is exceeded: requested requests.nvidia.com/gpu=1, used requests.nvidia.com/gpu=2, "
        "limited to requests.nvidia.com/gpu=2"
    )
    quota = Quota("team", {"requests.nvidia.com/gpu": Fraction(2)}, {"requests.nvidia.com/gpu": Fraction(2)})
    seen = look(serving(2, 3), LONGER, quotas=[quota])
    assert [(step.action, set(step.replicas)) for step in seen.steps] == [(REPLACE, {1}), (REPLACE, {0})]
    assert (seen.end, seen.least_ready, seen.most_devices) == (End.DONE, 1, 2)
    assert seen.ways == (
        UpdateWay(RolloutStrategy.SURGE, "gpu-0 has 1 nvidia.com/gpu free"),
        UpdateWay(RolloutStrategy.IN_PLACE, f"a surge pod can't be created: {said}"),
    )
    for insists in ({"strategy": "Surge"}, {"maxUnavailable": 0}):
        seen = look(serving(2, 3), LONGER | {"rollout": insists}, quotas=[quota])
        assert (seen.end, seen.steps, seen.least_ready) == (End.STUCK, (), 2)
        assert f"a surge pod must run first ({'set by' if 'strategy' in insists else 'gpu-0'}" in seen.why
        assert seen.why.count(said) == 1


def test_a_quota_that_others_use_up_is_reckoned_with() -> None:
    quota = Quota("team", {"pods": Fraction(10)}, {"pods": Fraction(9)})
    seen = look(serving(2, 4), {"replicas": 4}, quotas=[quota])
    assert (seen.end, seen.after.ready) == (End.STUCK, 3)


def test_too_little_host_memory_is_as_good_as_no_node() -> None:
    world = serving(1, 4)
    memory = {"gpu-0": {"memory": Fraction(2**33), "cpu": Fraction(8), "pods": Fraction(9)}}
    assert look(world, {"replicas": 2}, host=memory).end is End.DONE
    seen = look(world, {"replicas": 3}, host=memory)
    assert seen.end is End.STUCK
    assert "Insufficient memory" in seen.why


def test_without_a_look_at_the_nodes_every_pod_finds_a_place() -> None:
    world = serving(2, 2)
    wanted = copy.deepcopy(world.service)
    wanted["spec"] = merged(wanted["spec"], {"replicas": 64})
    seen = simulate(world.observe(None), wanted)
    assert (seen.end, seen.after.ready) == (End.DONE, 64)


def test_a_shortage_that_was_there_before_is_no_fault_of_the_change() -> None:
    world = serving(3, 2)
    assert world.answering == 2
    assert look(world, {"access": {"caps": {"maxTokens": 7}}}).end is End.NO_BETTER
    assert look(world, LONGER).end is End.NO_BETTER
    assert look(world, {"replicas": 4}).end is End.STUCK
    assert look(world, {"replicas": 2}).end is End.DONE


def test_broken_replicas_take_a_corrected_spec_all_at_once() -> None:
    world = serving(3, 3)
    for number in range(3):
        world.crash(number)
    world.tick()
    seen = look(world, LONGER)
    assert [(step.action, set(step.replicas)) for step in seen.steps] == [(REPLACE, {0, 1, 2})]
    assert seen.after.ready == 3


def test_a_spec_that_the_operator_does_not_accept_touches_nothing() -> None:
    seen = look(serving(2, 2), {"engine": {"gpuMemoryUtilization": "7"}})
    assert (seen.end, seen.steps, seen.children) == (End.NOT_ACCEPTED, (), ())
    assert "spec.engine.gpuMemoryUtilization is 7" in seen.why


def test_what_is_known_of_the_model_speaks_against_a_spec() -> None:
    world = serving(1, 8, a_service().from_source("hf://org/name"))
    wanted = copy.deepcopy(world.service)
    wanted["spec"] = merged(wanted["spec"], {"parallelism": {"tensor": 4}})
    ground = ClusterCapacity(nodes=[world._node()])
    assert simulate(world.observe(None), wanted, ground).end is End.DONE
    seen = simulate(world.observe(None), wanted, ground, facts=ModelFacts(attention_heads=6))
    assert seen.end is End.NOT_ACCEPTED
    assert "6 attention heads" in seen.why


def test_a_new_service_is_made_whole() -> None:
    world = serving(1, 4)
    wanted = a_service("other", "team-a").from_source("s3://models/chat").read().with_replicas(2).build()
    observed = Observed({**wanted, "spec": None}, (), (), None, Platform(), world.observe(None).now)
    seen = simulate(observed, wanted, ClusterCapacity(nodes=[world._node()]))
    assert seen.created and seen.end is End.DONE
    assert [(step.action, set(step.replicas)) for step in seen.steps] == [(START, {0, 1})]
    assert (seen.before.ready, seen.after.ready, seen.most_devices) == (0, 2, 2)
    assert {change.change for change in seen.children} == {Change.CREATE}
    assert {change.kind for change in seen.children} == {
        "StatefulSet",
        "ConfigMap",
        "Service",
        "PodDisruptionBudget",
    }


def test_an_autoscaler_keeps_replicas_within_its_bounds() -> None:
    world = serving(1, 4)
    world.platform = Platform(adapter=Adapter.OWN)
    targets = {"timeToFirstToken": {"p99": "200ms"}}
    seen = look(world, {"scaling": {"minReplicas": 3, "maxReplicas": 4, "targets": targets}})
    assert (seen.after.replicas, seen.after.ready) == (3, 3)
    assert [change.kind for change in seen.children if change.change is Change.CREATE] == ["HorizontalPodAutoscaler"]


def test_a_count_that_the_manifest_leaves_out_stays() -> None:
    world = serving(2, 3)
    wanted = copy.deepcopy(world.service)
    del wanted["spec"]["replicas"]
    seen = simulate(world.observe(None), wanted, ClusterCapacity(nodes=[world._node()]))
    assert not seen.changes


def test_what_waits_for_consent_restarts_nothing_until_the_spec_changes() -> None:
    world = serving(2, 2)
    world.platform = Platform(runtime_image="registry.example.com/runtime:2")
    seen = look(world, {"rollout": {"onFailure": "Pause"}})
    assert (seen.steps, seen.end) == ((), End.DONE)
    assert any("registry.example.com/runtime:2" in line for line in seen.requires_approval)
    changed = look(world, LONGER)
    assert [set(step.replicas) for step in changed.steps] == [{1}, {0}]
    assert changed.requires_approval == ()
    fields = [field.path for change in changed.children for field in change.fields]
    assert "spec.template.spec.containers[engine].image" in fields, "further changes are listed"


def test_consent_is_a_change() -> None:
    world = serving(2, 2)
    world.platform = Platform(runtime_image="registry.example.com/runtime:2")
    world.until_quiet()
    wanted = copy.deepcopy(world.service)
    wanted["metadata"]["annotations"] = {"llmservice.dev/upgrade": world.service["status"]["upgrade"]["digest"]}
    seen = simulate(world.observe(None), wanted, ClusterCapacity(nodes=[world._node()]))
    assert seen.changes and seen.end is End.DONE
    assert [set(step.replicas) for step in seen.steps] == [{1}, {0}]


def test_disks_are_told_of() -> None:
    world = serving(2, 3)
    seen = look(world, {"cache": {"size": "1Gi"}})
    assert seen.disks_made == ("cache-chat-0", "cache-chat-1")
    assert [change.change for change in seen.children if change.kind == "StatefulSet"] == [Change.RECREATE]
