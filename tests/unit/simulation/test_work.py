"""How much a simulation works, in calls, so that its time grows with the replicas and not with their square."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from builders.services import a_service, merged
from builders.world import World
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.planner.planner import plan
from llmservice_operator.simulation import simulator
from llmservice_operator.simulation.scheduler import ClusterCapacity, SchedulerModel
from llmservice_operator.simulation.simulate import End, simulate
from support.calls import counted

FEW, MANY = 8, 24


def a_change(replicas: int) -> tuple[Observed, dict[str, Any], ClusterCapacity]:
    """A service at rest, a change that replaces all of its replicas, and the node that has just enough GPUs."""
    world = World(a_service().from_source("s3://models/chat").read().with_replicas(replicas), replicas)
    world.until_quiet()
    wanted = copy.deepcopy(world.service)
    wanted["spec"] = merged(wanted["spec"], {"model": {"maxContextLength": 2048}})
    return world.observe(None), wanted, ClusterCapacity(nodes=[world._node()])


def test_a_replaced_replica_takes_a_few_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def noted(observed: Observed) -> Any:
        made.append(observed)
        return plan(observed)

    observed, wanted, capacity = a_change(MANY)
    monkeypatch.setattr(simulator, "plan", noted)
    assert simulate(observed, wanted, capacity).end is End.DONE
    assert len(made) <= 7 * MANY


def test_more_replicas_may_take_more_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    observed, wanted, capacity = a_change(MANY)
    monkeypatch.setattr(simulator, "MOST_TICKS", 20)
    assert simulate(observed, wanted, capacity).end is End.DONE


def test_the_calls_for_a_replica_hardly_depend_on_the_number_of_replicas() -> None:
    calls = {}
    for replicas in (FEW, MANY):
        observed, wanted, capacity = a_change(replicas)
        with counted() as found:
            simulate(observed, wanted, capacity)
        calls[replicas] = found.total() / replicas
    assert calls[MANY] <= 1.15 * calls[FEW]


def test_a_plan_reads_a_field_of_a_pod_once() -> None:
    observed, *_ = a_change(MANY)
    with counted() as found:
        plan(observed)
    reads = {code.co_name: times for code, times in found.items() if code.co_filename.endswith("planner/model/pods.py")}
    reads.pop("known")
    assert reads["ready"] >= MANY
    assert {name: times for name, times in reads.items() if times > 2 * MANY} == {}


def test_pods_that_did_not_change_are_not_read_again() -> None:
    observed, wanted, capacity = a_change(MANY)
    with counted() as found:
        simulate(observed, wanted, capacity)
    ready = sum(
        times for code, times in found.items() if code.co_name == "ready" and "model/pods.py" in code.co_filename
    )
    assert ready <= 16 * MANY


def test_the_scheduler_reads_the_need_of_a_pod_once_for_all_nodes() -> None:
    observed, _, capacity = a_change(MANY)
    model = SchedulerModel(ClusterCapacity(nodes=[*(capacity.nodes or ())] * 20), ())
    with counted() as found:
        model.nodes(observed.pods)
    assert sum(times for code, times in found.items() if code.co_name == "_need") == MANY
