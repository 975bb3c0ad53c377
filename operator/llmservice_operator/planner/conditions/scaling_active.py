"""The condition ScalingActive: whether the number of replicas follows the latencies, and if not, what is missing.

Its message holds no live numbers: it changes when a decision does, so that a service at rest is not written.
"""

import datetime

from llmservice_operator.api.scaling import Scaling
from llmservice_operator.api.status import ScalingStatus
from llmservice_operator.autoscaling.scaling_status import Outlook
from llmservice_operator.planner.conditions import scheduled
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import Situation
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, unknown, yes
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Adapter

LONGEST_CHANGE = 1024
"""Characters that the status takes of why a count changed."""
AUTOSCALER_PATIENCE = datetime.timedelta(seconds=45)
"""How long the autoscaler may complain before its words are ours: it looks again each 15 s."""


def evaluate(situation: Situation) -> Result:
    """The condition ScalingActive; there is none where the service is not to be scaled."""
    return Result(check(situation), recheck_at=_changes_at(situation))


def check(situation: Situation) -> Verdict | None:
    """The verdict."""
    if situation.spec is None or situation.spec.scaling is None:
        return None
    scaling, placed = situation.spec.scaling, situation.once(scheduled.check)
    for step in (_switched_off, _not_placeable, _blind, _failing, _out_of_reach):
        found = step(situation, scaling, placed)
        if found is not None:
            return found
    return _following(situation, scaling)


def _changes_at(situation: Situation) -> datetime.datetime | None:
    """When the autoscaler's complaint, if it has one, becomes ours by time alone."""
    complaint = _complaint(situation)
    if complaint is None:
        return None
    at = _becomes_ours(situation, complaint)
    return at if at > situation.observed.now else None


def step_of_ones_own(situation: Situation) -> int | None:
    """The count to write where the HPA can't: to zero, and back from there, on clusters whose HPA has one at least."""
    spec, outlook, platform = situation.spec, situation.observed.outlook, situation.observed.platform
    if spec is None or spec.scaling is None or spec.replicas is None or outlook is None or outlook.gap is not None:
        return None
    if platform.scales_to_zero or platform.adapter in (Adapter.NONE, Adapter.KEDA) or spec.scaling.min_replicas > 0:
        return None
    if (outlook.count == 0) == (spec.replicas == 0):
        return None
    return outlook.count


def _switched_off(situation: Situation, scaling: Scaling, _: Verdict) -> Verdict | None:
    name = situation.owner.name
    if situation.observed.platform.adapter is Adapter.NONE:
        return no(
            reasons.NO_ADAPTER,
            "the platform brings no latencies to an autoscaler (chart value scaling.adapter: none): ask the platform "
            f"team for one, or set the count by hand: kubectl scale llms/{name} --replicas=N",
        )
    if situation.spec is None or situation.spec.replicas != 0 or situation.observed.platform.adapter is Adapter.KEDA:
        return None  # KEDA takes zero for a count like others
    outlook = situation.observed.outlook
    ours = outlook is not None and outlook.count == 0
    if scaling.min_replicas > 0 or (not ours and _says_disabled(situation)):
        return no(
            reasons.SCALING_DISABLED,
            "spec.replicas is 0, which switches the autoscaler off; this switches it on again: "
            f"kubectl scale llms/{name} --replicas={max(1, scaling.min_replicas)}",
        )
    return None


def _not_placeable(situation: Situation, scaling: Scaling, placed: Verdict) -> Verdict | None:
    short = len(situation.engines) and situation.wanted_replicas <= scaling.min_replicas
    if short and reasons.of(placed.kind).unplaced:
        return no(
            reasons.MIN_REPLICAS_NOT_PLACEABLE,
            f"not even minReplicas ({scaling.min_replicas}) find a place: {placed.message}",
            field=next((each.field for each in placed.findings), ""),
        )
    return None


def _blind(situation: Situation, _: Scaling, __: Verdict) -> Verdict | None:
    outlook = situation.observed.outlook
    if outlook is None:
        before = situation.previous.get("ScalingActive")
        if before is not None:  # the operator has just started: what it said holds until it knows better
            return Verdict(before["status"], before["reason"], before.get("message", ""))
        return unknown(reasons.AWAITING_MEASUREMENT, "nothing is measured yet")
    if outlook.gap is not None:
        end = "" if phrases.ended(outlook.gap.message) else "."
        return no(outlook.gap.reason, f"{outlook.gap.message}{end} Until then the count is not lowered")
    return None


def _failing(situation: Situation, _: Scaling, __: Verdict) -> Verdict | None:
    complaint = _complaint(situation)
    if complaint is None or situation.observed.now < _becomes_ours(situation, complaint):
        return None
    kind = "ScaledObject" if situation.observed.platform.adapter is Adapter.KEDA else "HorizontalPodAutoscaler"
    return no(
        reasons.AUTOSCALER_FAILS,
        f"the {kind} {names.autoscaler(situation.owner.name)} says {complaint.get('reason') or complaint['type']}: "
        f"{complaint.get('message', '')}",
    )


def _out_of_reach(situation: Situation, _: Scaling, __: Verdict) -> Verdict | None:
    outlook = situation.observed.outlook
    if outlook is None or not outlook.unreachable:
        return None
    return no(reasons.TARGET_UNREACHABLE, outlook.unreachable)


def _following(situation: Situation, scaling: Scaling) -> Verdict:
    outlook = situation.observed.outlook or Outlook(situation.wanted_replicas, "")
    if outlook.limited == "maximum":
        reason, bound = reasons.AT_MAXIMUM, "; the load asks for more, and maxReplicas allows no more"
    else:
        reason, bound = reasons.FOLLOWS_LATENCY, ""
    wants = f"{_replicas(outlook.count)} ({scaling.min_replicas} to {scaling.max_replicas} allowed)"
    why = _last_change(situation, outlook)
    return yes(reason, wants + (f"; last change {why}" if why else "") + bound)


def wanted(situation: Situation) -> ScalingStatus | None:
    """For the status: what the autoscaler wants. What an operator before this one said holds until this one knows."""
    if situation.spec is None or situation.spec.scaling is None:
        return None
    outlook = situation.observed.outlook
    if outlook is None:
        return situation.scaling
    why = _last_change(situation, outlook)
    return ScalingStatus(desired_replicas=outlook.count, last_change=phrases.beginning(why, LONGEST_CHANGE - 1) or None)


def _last_change(situation: Situation, outlook: Outlook) -> str:
    """Why the count last changed. A restart of the operator is no change."""
    before = situation.scaling
    if outlook.why or before is None or before.desired_replicas != outlook.count:
        return outlook.why
    return before.last_change or ""


def _replicas(count: int) -> str:
    return f"wants {count} replica" + ("" if count == 1 else "s")


def _complaint(situation: Situation) -> dict[str, str] | None:
    """What the autoscaler is not content with."""
    name = names.autoscaler(situation.owner.name)
    if situation.observed.platform.adapter is Adapter.KEDA:
        found, types = situation.child("ScaledObject", name), ("Ready", "HPAActive")
    else:
        found, types = situation.child("HorizontalPodAutoscaler", name), ("AbleToScale", "ScalingActive")
    for each in ((found or {}).get("status") or {}).get("conditions") or ():
        if each["type"] in types and each["status"] == "False" and each.get("reason") != "ScalingDisabled":
            return dict(each)
    return None


def _says_disabled(situation: Situation) -> bool:
    """Whether the HPA leaves a zero alone that it has not made."""
    hpa = situation.child("HorizontalPodAutoscaler", names.autoscaler(situation.owner.name)) or {}
    conditions = (hpa.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "ScalingActive" and each.get("reason") == "ScalingDisabled" for each in conditions)


def _becomes_ours(situation: Situation, complaint: dict[str, str]) -> datetime.datetime:
    """It is a complaint about what is offered now, not about a gap of before."""
    since = timestamps.parse(complaint.get("lastTransitionTime"))
    offered = situation.observed.outlook.offered_since if situation.observed.outlook is not None else None
    known = [time for time in (since, offered) if time is not None]
    return max(known) + AUTOSCALER_PATIENCE if known else situation.observed.now
