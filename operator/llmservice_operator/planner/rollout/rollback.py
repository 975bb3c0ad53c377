"""Rollback to the last good template after a changed one has failed."""

import dataclasses
from typing import Any

from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model import drift, foreign_changes, pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.rollout_record import Failure, Record
from llmservice_operator.planner.rollout import condition, steps, surge
from llmservice_operator.planner.rollout.state import RolloutState
from llmservice_operator.planner.rollout.statefulset import RolloutStep, deletions, render_statefulset


def roll_back(
    fleet: RolloutState, spec: LLMServiceSpec, record: Record, why: Failure, rendered: dict[str, Any]
) -> RolloutStep:
    """Applies the last good template again. Missing pods are then created from it, so only the pods of the failed
    revision have to be deleted, as many at a time as the minimum of ready replicas allows."""
    good = fleet.good or fleet.live["spec"]["template"]
    surge_pod = fleet.pods.get(fleet.wanted)
    if surge_pod is None or not fleet.answers(surge_pod) or steps.finished(fleet, record):
        record = dataclasses.replace(record, strategy=RolloutStrategy.IN_PLACE, lacking="")
    in_effect = fleet.settled and _is_applied(fleet, good)
    going = _pods_to_delete(fleet, steps.promised(fleet, spec, record)) if in_effect and not spec.rollout.paused else []
    back = sum(number < fleet.wanted for number in fleet.updated_replicas) if in_effect else 0
    left = fleet.wanted - back
    size = fleet.wanted + record.surge
    recheck_at = None if surge.without_node(fleet, record) else surge.without_node_at(fleet, record)
    partition = size if left and fleet.last_good == fleet.newest else 0
    return RolloutStep(
        render_statefulset(rendered, record, partition if in_effect else size, record.surge, good, roll_back=True),
        Result(condition.rolled_back(why, left), recheck_at=recheck_at),
        deletions(fleet.to_replace(going), "its revision failed and is rolled back"),
    )


def _is_applied(fleet: RolloutState, good: Any) -> bool:
    """Whether the StatefulSet has the last good template, apart from accepted changes by others."""
    if drift.within(good, fleet.live["spec"]["template"]):
        return True
    applied = Record.of(fleet.live)
    rolled_back = applied is not None and applied.failure is not None
    return rolled_back and foreign_changes.has_template(fleet.state, good, fleet.live)


def _pods_to_delete(fleet: RolloutState, least: int) -> list[Object]:
    """Pods of the failed revision to delete now: those that are not ready. If all of them are ready, one of them."""
    left = [pod for pod in fleet.outdated if pods.ordinal(pod) < fleet.wanted]
    silent = [pod for pod in left if not fleet.answers(pod)]
    return silent if silent or fleet.ready - 1 < least else left[-1:]
