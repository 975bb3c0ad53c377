"""The conditions of a service, by the conventions of Kubernetes and kstatus.

Ready is the summary: True if everything that the spec asks for exists, otherwise the first of Accepted, Scheduled,
Serving and RolledOut that is not True. Ready does not depend on Fits, ScalingActive and Routed, which exist only if
they are configured. Reconciling and Stalled exist only while they are True, never both: Reconciling passes by itself,
Stalled usually needs a person.

To add a condition, this file is enough: a row of ``CONDITIONS``, a function from the state to its result, and the
reasons that it alone has (``reasons.add``). It may use the results of others (``state.once``); their order does not
matter.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from llmservice_operator.api import status
from llmservice_operator.planner.actions import decision, field_changes
from llmservice_operator.planner.conditions import replicas_writer, routed, scaling_active, scheduled, serving
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.condition import Verdict, no, yes
from llmservice_operator.planner.report.reasons import ConditionType
from llmservice_operator.planner.status import findings


@dataclasses.dataclass(frozen=True)
class ConditionRow:
    """A condition and the function that evaluates it."""

    type: str
    evaluate: Callable[[ServiceState], Result]
    summed_up: bool = False
    """Whether Ready is False while this condition is not True. The first such condition gives the reason."""


def accepted(state: ServiceState) -> Verdict:
    """The verdict of the condition Accepted."""
    return state.once(decision.decide).accepted


def ready(state: ServiceState) -> Verdict:
    """The verdict of the condition Ready."""
    for condition in CONDITIONS:
        verdict = result(state, condition.type).verdict if condition.summed_up else None
        if verdict is not None and not verdict.good:
            return Verdict("False", verdict.reason, verdict.message, verdict.kind)
    health = state.once(serving.check).verdict
    if health.reason == reasons.PARTLY_READY:
        return no(health.reason, health.message)
    return yes(reasons.READY, health.message)


def all_results(state: ServiceState) -> list[Result]:
    """The result of every condition, in the order of ``CONDITIONS``."""
    return [state.once(condition.evaluate) for condition in CONDITIONS]


def result(state: ServiceState, kind: str) -> Result:
    """The result of one condition."""
    return state.once(next(condition.evaluate for condition in CONDITIONS if condition.type == kind))


def all_conditions(state: ServiceState) -> list[dict[str, Any]]:
    """The current conditions, in the order in which people read them."""
    found = ((each.type, state.once(each.evaluate).verdict) for each in CONDITIONS)
    return [_condition(state, kind, verdict) for kind, verdict in found if verdict is not None]


def all_findings(state: ServiceState) -> list[status.Finding]:
    """The findings of the conditions: first those that Ready checks before the pods, then those of the pods, then the
    rest. While the service is ready, problems of surplus pods are not reported."""
    pods = next(number for number, each in enumerate(CONDITIONS) if each.type == ConditionType.SERVING)
    before, after = list[Verdict](), list[Verdict]()
    for number, each in enumerate(CONDITIONS):
        verdict = state.once(each.evaluate).verdict
        if verdict is not None:
            (before if each.summed_up and number < pods else after).append(verdict)
    for evaluate in (replicas_writer.evaluate, field_changes.evaluate):
        further = state.once(evaluate).verdict
        if further is not None:
            after.append(further)
    problems = () if state.once(ready).good else state.once(serving.check).problems
    return findings.all_findings(before, problems, after)


def changed(previous: Mapping[str, Mapping[str, Any]], kind: str, verdict: Verdict) -> bool:
    """Whether the status or the reason of a condition has changed."""
    before = previous.get(kind, {})
    return (before.get("status"), before.get("reason")) != (verdict.status, verdict.reason)


def _ready(state: ServiceState) -> Result:
    return Result(state.once(ready))


def _reconciling(state: ServiceState) -> Result:
    return Result(None if _needs_person(state) else _not_ready(state))


def _stalled(state: ServiceState) -> Result:
    return Result(_not_ready(state) if _needs_person(state) else None)


def _not_ready(state: ServiceState) -> Verdict | None:
    """Why it is not ready; None if it is ready or scaled to zero."""
    verdict = state.once(ready)
    if verdict.good or verdict.reason == reasons.SCALED_TO_ZERO:
        return None
    return yes(verdict.reason, verdict.message)


def _needs_person(state: ServiceState) -> bool:
    """Whether a person usually has to act: by the reason, or by the most severe problem if no replica is ready."""
    verdict, health = state.once(ready), state.once(serving.check)
    problem = health.problem if not health.ready else None
    causes = (verdict.reason, verdict.kind, *((problem.reason, problem.kind) if problem is not None else ()))
    return accepted(state).status == "False" or reasons.needs_person(*causes)


def _condition(state: ServiceState, kind: str, verdict: Verdict) -> dict[str, Any]:
    before = state.previous.get(kind, {})
    same = before.get("status") == verdict.status and before.get("lastTransitionTime")
    return {
        "type": str(kind),
        "status": verdict.status,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastTransitionTime": before["lastTransitionTime"] if same else timestamps.show(state.observed.now),
        "observedGeneration": state.generation,
    }


CONDITIONS: tuple[ConditionRow, ...] = (
    ConditionRow(ConditionType.READY, _ready),
    ConditionRow(ConditionType.ACCEPTED, decision.accepted_condition, summed_up=True),
    ConditionRow(ConditionType.FITS, decision.fits_condition),
    ConditionRow(ConditionType.SCHEDULED, scheduled.evaluate, summed_up=True),
    ConditionRow(ConditionType.SERVING, serving.evaluate, summed_up=True),
    ConditionRow(ConditionType.ROLLED_OUT, decision.rolled_out_condition, summed_up=True),
    ConditionRow(ConditionType.SCALING_ACTIVE, scaling_active.evaluate),
    ConditionRow(ConditionType.ROUTED, routed.evaluate),
    ConditionRow(ConditionType.RECONCILING, _reconciling),
    ConditionRow(ConditionType.STALLED, _stalled),
)
"""In the order in which people read them. Ready takes the first one of these that is not True."""
