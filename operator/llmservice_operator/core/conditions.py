"""The conditions of a service, as Kubernetes and kstatus want them.

Ready sums up: True once all that the spec asks for is there, else the first of Accepted, Scheduled, Serving and
RolledOut that is not. Ready does not depend on Fits and ScalingActive, which are there where they are asked for: what
serves, serves. Reconciling and Stalled are there only while True, and never both: Reconciling passes by itself, Stalled
seldom does without a person.
"""

from collections.abc import Mapping
from typing import Any

from llmservice_operator.core import reasons, times
from llmservice_operator.core.diagnosis import Problem
from llmservice_operator.core.situation import Situation
from llmservice_operator.core.verdict import Verdict, no, yes


def summary(accepted: Verdict, scheduled: Verdict, serving: Verdict, rolled_out: Verdict | None) -> Verdict:
    """Ready. ``rolled_out`` is None where the spec is not accepted."""
    for verdict in (accepted, scheduled, serving, *([rolled_out] if rolled_out is not None else [])):
        if not verdict.good:
            return Verdict("False", verdict.reason, verdict.message, verdict.kind)
    if serving.reason == reasons.PARTLY_READY:
        return no(serving.reason, serving.message)
    return yes(reasons.READY, serving.message)


def all_conditions(
    situation: Situation,
    accepted: Verdict,
    fits: Verdict | None,
    scheduled: Verdict,
    serving: Verdict,
    rolled_out: Verdict | None,
    scaling: Verdict | None,
    ready: Verdict,
    problem: Problem | None,
) -> list[dict[str, Any]]:
    """The conditions in the order in which people read them.

    ``problem`` is the gravest of a pod, None where none counts: it tells a stalled service from one that is under way.
    """
    verdicts = {"Ready": ready, "Accepted": accepted}
    if fits is not None:
        verdicts["Fits"] = fits
    verdicts |= {"Scheduled": scheduled, "Serving": serving}
    if rolled_out is not None:
        verdicts["RolledOut"] = rolled_out
    if scaling is not None:
        verdicts["ScalingActive"] = scaling
    if not ready.good and ready.reason != reasons.SCALED_TO_ZERO:
        causes = (ready.reason, ready.kind, *((problem.reason, problem.kind) if problem is not None else ()))
        person = accepted.status == "False" or reasons.needs_person(*causes)
        verdicts["Stalled" if person else "Reconciling"] = yes(ready.reason, ready.message)
    return [_condition(situation, kind, verdict) for kind, verdict in verdicts.items()]


def changed(previous: Mapping[str, Mapping[str, Any]], kind: str, verdict: Verdict) -> bool:
    """Whether a condition's status or reason is another than before."""
    before = previous.get(kind, {})
    return (before.get("status"), before.get("reason")) != (verdict.status, verdict.reason)


def _condition(situation: Situation, kind: str, verdict: Verdict) -> dict[str, Any]:
    before = situation.previous.get(kind, {})
    same = before.get("status") == verdict.status and before.get("lastTransitionTime")
    return {
        "type": kind,
        "status": verdict.status,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastTransitionTime": before["lastTransitionTime"] if same else times.show(situation.observed.now),
        "observedGeneration": situation.generation,
    }
