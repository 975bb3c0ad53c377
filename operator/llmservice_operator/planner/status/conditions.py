"""The conditions of a service, as Kubernetes and kstatus want them.

Ready sums up: True once all that the spec asks for is there, else the first of Accepted, Scheduled, Serving and
RolledOut that is not. Ready does not depend on Fits and ScalingActive, which are there where they are asked for: what
serves, serves. Reconciling and Stalled are there only while True, and never both: Reconciling passes by itself, Stalled
seldom does without a person.

To add a condition: a row of ``CONDITIONS``, with a function from the situation to its result, and its reasons in
``reasons``. It may use the results of others (``situation.once``), in whatever order they stand here.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from llmservice_operator.api import status
from llmservice_operator.planner.actions.decision import decide
from llmservice_operator.planner.conditions import scaling_active, scheduled, serving
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import Situation
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.condition import Verdict, no, yes
from llmservice_operator.planner.report.reasons import ConditionType
from llmservice_operator.planner.status import findings


@dataclasses.dataclass(frozen=True)
class ConditionRow:
    """One condition."""

    type: ConditionType
    evaluate: Callable[[Situation], Result]
    summed_up: bool = False
    """Whether Ready is False while this is not True, for the reason of the first of these."""


def accepted(situation: Situation) -> Verdict:
    """Whether the spec makes sense."""
    return situation.once(decide).accepted


def ready(situation: Situation) -> Verdict:
    """The summary."""
    for condition in CONDITIONS:
        verdict = result(situation, condition.type).verdict if condition.summed_up else None
        if verdict is not None and not verdict.good:
            return Verdict("False", verdict.reason, verdict.message, verdict.kind)
    health = situation.once(serving.check).verdict
    if health.reason == reasons.PARTLY_READY:
        return no(health.reason, health.message)
    return yes(reasons.READY, health.message)


def all_results(situation: Situation) -> list[Result]:
    """Of each condition, in the order of ``CONDITIONS``."""
    return [situation.once(condition.evaluate) for condition in CONDITIONS]


def result(situation: Situation, kind: ConditionType) -> Result:
    """Of one condition."""
    return situation.once(next(condition.evaluate for condition in CONDITIONS if condition.type is kind))


def all_conditions(situation: Situation) -> list[dict[str, Any]]:
    """The conditions that the service has now, in the order in which people read them."""
    found = ((each.type, situation.once(each.evaluate).verdict) for each in CONDITIONS)
    return [_condition(situation, kind, verdict) for kind, verdict in found if verdict is not None]


def all_findings(situation: Situation) -> list[status.Finding]:
    """What the conditions tell: first that which Ready asks before it asks the pods, then of the pods, then the rest.
    While the service is ready, nobody has to know of a pod that is more than is asked for."""
    pods = next(number for number, each in enumerate(CONDITIONS) if each.type is ConditionType.SERVING)
    before, after = list[Verdict](), list[Verdict]()
    for number, each in enumerate(CONDITIONS):
        verdict = situation.once(each.evaluate).verdict
        if verdict is not None:
            (before if each.summed_up and number < pods else after).append(verdict)
    problems = () if situation.once(ready).good else situation.once(serving.check).problems
    return findings.all_findings(before, problems, after)


def changed(previous: Mapping[str, Mapping[str, Any]], kind: str, verdict: Verdict) -> bool:
    """Whether a condition's status or reason is another than before."""
    before = previous.get(kind, {})
    return (before.get("status"), before.get("reason")) != (verdict.status, verdict.reason)


def _ready(situation: Situation) -> Result:
    return Result(situation.once(ready))


def _accepted(situation: Situation) -> Result:
    reading = situation.once(decide).reading
    return Result(accepted(situation), reading.requires, reading.recheck_at)


def _fits(situation: Situation) -> Result:
    return situation.once(decide).fitting.result


def _rolled_out(situation: Situation) -> Result:
    return situation.once(decide).rolled_out


def _reconciling(situation: Situation) -> Result:
    return Result(None if _needs_person(situation) else _not_ready(situation))


def _stalled(situation: Situation) -> Result:
    return Result(_not_ready(situation) if _needs_person(situation) else None)


def _not_ready(situation: Situation) -> Verdict | None:
    """Why it is not ready; None where it is, or is not to be."""
    verdict = situation.once(ready)
    if verdict.good or verdict.reason == reasons.SCALED_TO_ZERO:
        return None
    return yes(verdict.reason, verdict.message)


def _needs_person(situation: Situation) -> bool:
    """Whether it seldom gets ready without a person: by its reason, or if none serves by the gravest of its pods."""
    verdict, health = situation.once(ready), situation.once(serving.check)
    problem = health.problem if not health.ready else None
    causes = (verdict.reason, verdict.kind, *((problem.reason, problem.kind) if problem is not None else ()))
    return accepted(situation).status == "False" or reasons.needs_person(*causes)


def _condition(situation: Situation, kind: str, verdict: Verdict) -> dict[str, Any]:
    before = situation.previous.get(kind, {})
    same = before.get("status") == verdict.status and before.get("lastTransitionTime")
    return {
        "type": str(kind),
        "status": verdict.status,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastTransitionTime": before["lastTransitionTime"] if same else timestamps.show(situation.observed.now),
        "observedGeneration": situation.generation,
    }


CONDITIONS: tuple[ConditionRow, ...] = (
    ConditionRow(ConditionType.READY, _ready),
    ConditionRow(ConditionType.ACCEPTED, _accepted, summed_up=True),
    ConditionRow(ConditionType.FITS, _fits),
    ConditionRow(ConditionType.SCHEDULED, scheduled.evaluate, summed_up=True),
    ConditionRow(ConditionType.SERVING, serving.evaluate, summed_up=True),
    ConditionRow(ConditionType.ROLLED_OUT, _rolled_out, summed_up=True),
    ConditionRow(ConditionType.SCALING_ACTIVE, scaling_active.evaluate),
    ConditionRow(ConditionType.RECONCILING, _reconciling),
    ConditionRow(ConditionType.STALLED, _stalled),
)
"""In the order in which people read them, and in which Ready takes the first that is not True."""
