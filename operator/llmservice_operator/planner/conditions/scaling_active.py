"""The condition ScalingActive: whether the number of replicas follows the latencies, and if not, what is missing.

Its message holds no live numbers: it changes when a decision does, so that a service at rest is not written.
"""

import datetime

from llmservice_operator.api.scaling import Scaling
from llmservice_operator.api.status import ScalingStatus
from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.planner.conditions import scheduled
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, unknown, yes
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Adapter

LONGEST_CHANGE = 1024
"""Characters that the status takes of why a count changed."""
AUTOSCALER_PATIENCE = datetime.timedelta(seconds=45)
"""How long the autoscaler may complain before its words are ours: it looks again each 15 s."""


def evaluate(state: ServiceState) -> Result:
    """The condition ScalingActive; there is none where the service is not to be scaled."""
    return Result(check(state), recheck_at=_changes_at(state))


def check(state: ServiceState) -> Verdict | None:
    """The verdict."""
    if state.spec is None or state.spec.scaling is None:
        return None
    scaling, placed = state.spec.scaling, state.once(scheduled.check)
    for step in (_switched_off, _not_placeable, _blind, _failing, _out_of_reach):
        found = step(state, scaling, placed)
        if found is not None:
            return found
    return _following(state, scaling)


def _changes_at(state: ServiceState) -> datetime.datetime | None:
    """When the autoscaler's complaint, if it has one, becomes ours by time alone."""
    complaint = _complaint(state)
    if complaint is None:
        return None
    at = _becomes_ours(state, complaint)
    return at if at > state.observed.now else None


def step_of_ones_own(state: ServiceState) -> int | None:
    """The count to write where the HPA can't: to zero, and back from there, on clusters whose HPA has one at least."""
    spec, outlook, platform = state.spec, state.observed.outlook, state.observed.platform
    if spec is None or spec.scaling is None or spec.replicas is None or outlook is None or outlook.gap is not None:
        return None
    if platform.scales_to_zero or platform.adapter in (Adapter.NONE, Adapter.KEDA) or spec.scaling.min_replicas > 0:
        return None
    if (outlook.count == 0) == (spec.replicas == 0):
        return None
    return outlook.count


def _switched_off(state: ServiceState, scaling: Scaling, _: Verdict) -> Verdict | None:
    name = state.owner.name
    if state.observed.platform.adapter is Adapter.NONE:
        return no(
            reasons.NO_ADAPTER,
            "the platform has no metrics adapter for autoscaling (chart value scaling.adapter: none): ask the "
            f"platform team for one, or set the replica count yourself: kubectl scale llms/{name} --replicas=N",
        )
    if state.spec is None or state.spec.replicas != 0 or state.observed.platform.adapter is Adapter.KEDA:
        return None  # KEDA takes zero for a count like others
    outlook = state.observed.outlook
    ours = outlook is not None and outlook.count == 0
    if scaling.min_replicas > 0 or (not ours and _says_disabled(state)):
        return no(
            reasons.SCALING_DISABLED,
            f"spec.replicas is 0, which disables the autoscaler; this enables it again: kubectl scale llms/{name} "
            f"--replicas={max(1, scaling.min_replicas)}",
        )
    return None


def _not_placeable(state: ServiceState, scaling: Scaling, placed: Verdict) -> Verdict | None:
    short = len(state.engines) and state.wanted_replicas <= scaling.min_replicas
    if short and reasons.of(placed.kind).unplaced:
        return no(
            reasons.MIN_REPLICAS_NOT_PLACEABLE,
            f"not even minReplicas ({scaling.min_replicas}) can be scheduled: {placed.message}",
            field=next((each.field for each in placed.findings), ""),
        )
    return None


def _blind(state: ServiceState, _: Scaling, __: Verdict) -> Verdict | None:
    outlook = state.observed.outlook
    if outlook is None:
        before = state.previous.get("ScalingActive")
        if before is not None:  # the operator has just started: what it said holds until it knows better
            return Verdict(before["status"], before["reason"], before.get("message", ""))
        return unknown(reasons.AWAITING_MEASUREMENT, "no latency has been measured yet")
    if outlook.gap is not None:
        end = "" if phrases.ended(outlook.gap.message) else "."
        return no(outlook.gap.reason, f"{outlook.gap.message}{end} Until then the operator does not scale down")
    return None


def _failing(state: ServiceState, _: Scaling, __: Verdict) -> Verdict | None:
    complaint = _complaint(state)
    if complaint is None or state.observed.now < _becomes_ours(state, complaint):
        return None
    kind = "ScaledObject" if state.observed.platform.adapter is Adapter.KEDA else "HorizontalPodAutoscaler"
    return no(
        reasons.AUTOSCALER_FAILS,
        f"the {kind} {names.autoscaler(state.owner.name)} says {complaint.get('reason') or complaint['type']}: "
        f"{complaint.get('message', '')}",
    )


def _out_of_reach(state: ServiceState, _: Scaling, __: Verdict) -> Verdict | None:
    outlook = state.observed.outlook
    if outlook is None or not outlook.unreachable:
        return None
    return no(reasons.TARGET_UNREACHABLE, outlook.unreachable)


def _following(state: ServiceState, scaling: Scaling) -> Verdict:
    outlook = state.observed.outlook or ScalingOutcome(state.wanted_replicas, "")
    if outlook.limited == "maximum":
        reason, bound = reasons.AT_MAXIMUM, "; the load requires more than maxReplicas allows"
    else:
        reason, bound = reasons.FOLLOWS_LATENCY, ""
    wants = f"{_replicas(outlook.count)} ({scaling.min_replicas} to {scaling.max_replicas} allowed)"
    why = _last_change(state, outlook)
    return yes(reason, wants + (f"; last change {why}" if why else "") + bound)


def wanted(state: ServiceState) -> ScalingStatus | None:
    """For the status: what the autoscaler wants. What an operator before this one said holds until this one knows."""
    if state.spec is None or state.spec.scaling is None:
        return None
    outlook = state.observed.outlook
    if outlook is None:
        return state.scaling
    why = _last_change(state, outlook)
    return ScalingStatus(desired_replicas=outlook.count, last_change=phrases.head(why, LONGEST_CHANGE - 1) or None)


def _last_change(state: ServiceState, outlook: ScalingOutcome) -> str:
    """Why the count last changed. A restart of the operator is no change."""
    before = state.scaling
    if outlook.why or before is None or before.desired_replicas != outlook.count:
        return outlook.why
    return before.last_change or ""


def _replicas(count: int) -> str:
    return f"{count} desired replica" + ("" if count == 1 else "s")


def _complaint(state: ServiceState) -> dict[str, str] | None:
    """What the autoscaler is not content with."""
    name = names.autoscaler(state.owner.name)
    if state.observed.platform.adapter is Adapter.KEDA:
        found, types = state.child("ScaledObject", name), ("Ready", "HPAActive")
    else:
        found, types = state.child("HorizontalPodAutoscaler", name), ("AbleToScale", "ScalingActive")
    for each in ((found or {}).get("status") or {}).get("conditions") or ():
        if each["type"] in types and each["status"] == "False" and each.get("reason") != "ScalingDisabled":
            return dict(each)
    return None


def _says_disabled(state: ServiceState) -> bool:
    """Whether the HPA leaves a zero alone that it has not made."""
    hpa = state.child("HorizontalPodAutoscaler", names.autoscaler(state.owner.name)) or {}
    conditions = (hpa.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "ScalingActive" and each.get("reason") == "ScalingDisabled" for each in conditions)


def _becomes_ours(state: ServiceState, complaint: dict[str, str]) -> datetime.datetime:
    """It is a complaint about what is offered now, not about a gap of before."""
    since = timestamps.parse(complaint.get("lastTransitionTime"))
    offered = state.observed.outlook.offered_since if state.observed.outlook is not None else None
    known = [time for time in (since, offered) if time is not None]
    return max(known) + AUTOSCALER_PATIENCE if known else state.observed.now
