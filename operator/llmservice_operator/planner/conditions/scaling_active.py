"""The condition ScalingActive: whether the autoscaler controls the replica count, and if not, why.

Its message has no live measurements. It changes only with a decision, so that nothing is written at rest.
"""

import datetime

from llmservice_operator.api.scaling import Scaling
from llmservice_operator.api.status import ScalingStatus
from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.planner.conditions import replicas_writer, scheduled
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, unknown, yes
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Adapter

LONGEST_CHANGE = 1024
"""Maximum length of status.scaling.lastChange, in characters."""
AUTOSCALER_PATIENCE = datetime.timedelta(seconds=45)
"""How long the autoscaler must have failed before the condition reports it. The HPA syncs every 15 s."""


def evaluate(state: ServiceState) -> Result:
    """The condition ScalingActive; there is none if the spec has no scaling."""
    changes_at = _changes_at(state)
    return Result(check(state), recheck_at=changes_at)


def check(state: ServiceState) -> Verdict | None:
    """The verdict; None if the spec has no scaling."""
    if state.spec is None or state.spec.scaling is None:
        return None
    scaling, placed = state.spec.scaling, state.once(scheduled.check)
    for step in (_switched_off, _not_placeable, _no_signal, _failing, _target_unreachable):
        found = step(state, scaling, placed)
        if found is not None:
            return found
    return _following(state, scaling)


def _changes_at(state: ServiceState) -> datetime.datetime | None:
    """When a failure of the autoscaler will be reported, if it lasts; None if there is none or it is reported
    already."""
    complaint = _complaint(state)
    if complaint is None:
        return None
    at = _reported_from(state, complaint)
    return at if at > state.observed.now else None


def replicas_to_write(state: ServiceState) -> int | None:
    """The replica count that the operator writes itself, because an HPA of this cluster can't scale to or from zero."""
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
        return None  # for KEDA zero is a count like any other
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


def _no_signal(state: ServiceState, _: Scaling, __: Verdict) -> Verdict | None:
    outlook = state.observed.outlook
    if outlook is None:
        before = state.previous.get("ScalingActive")
        if before is not None:  # the operator has just started: keep the previous verdict until there is a decision
            return Verdict(before["status"], before["reason"], before.get("message", ""))
        return unknown(reasons.AWAITING_MEASUREMENT, "no latency has been measured yet")
    if outlook.gap is not None:
        end = "" if phrases.ended(outlook.gap.message) else "."
        return no(outlook.gap.reason, f"{outlook.gap.message}{end} Until then the operator does not scale down")
    return None


def _failing(state: ServiceState, _: Scaling, __: Verdict) -> Verdict | None:
    complaint = _complaint(state)
    if complaint is None or state.observed.now < _reported_from(state, complaint):
        return None
    kind = "ScaledObject" if state.observed.platform.adapter is Adapter.KEDA else "HorizontalPodAutoscaler"
    return no(
        reasons.AUTOSCALER_FAILS,
        f"the {kind} {names.autoscaler(state.owner.name)} says {complaint.get('reason') or complaint['type']}: "
        f"{complaint.get('message', '')}",
    )


def _target_unreachable(state: ServiceState, _: Scaling, __: Verdict) -> Verdict | None:
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
    writer = state.once(replicas_writer.check)
    other = f"; field manager {writer.manager} sets a number of replicas, too" if writer is not None else ""
    return yes(reason, wants + (f"; last change {why}" if why else "") + bound + _unmeasured(outlook) + other)


def _unmeasured(outlook: ScalingOutcome) -> str:
    if outlook.measured is None:
        return ""
    measured, ready = outlook.measured
    return (
        f"; Prometheus has recent series of {measured} of {ready} ready replicas, and until it has those of all the "
        "operator does not scale down. Check the scrape targets; of a sharded Prometheus set the address of what "
        "queries all shards"
    )


def wanted(state: ServiceState) -> ScalingStatus | None:
    """``status.scaling``. After a start of the operator the previous value stays until there is a decision."""
    if state.spec is None or state.spec.scaling is None:
        return None
    outlook = state.observed.outlook
    if outlook is None:
        return state.scaling
    why = _last_change(state, outlook)
    return ScalingStatus(desired_replicas=outlook.count, last_change=phrases.head(why, LONGEST_CHANGE - 1) or None)


def _last_change(state: ServiceState, outlook: ScalingOutcome) -> str:
    """Why the count last changed. A restart of the operator does not count as a change."""
    before = state.scaling
    if outlook.why or before is None or before.desired_replicas != outlook.count:
        return outlook.why
    return before.last_change or ""


def _replicas(count: int) -> str:
    return f"{count} desired replica" + ("" if count == 1 else "s")


def _complaint(state: ServiceState) -> dict[str, str] | None:
    """The failed condition of the HPA or ScaledObject; None if there is none."""
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
    """Whether the HPA is disabled by a replica count of zero that it did not set."""
    hpa = state.child("HorizontalPodAutoscaler", names.autoscaler(state.owner.name)) or {}
    conditions = (hpa.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "ScalingActive" and each.get("reason") == "ScalingDisabled" for each in conditions)


def _reported_from(state: ServiceState, complaint: dict[str, str]) -> datetime.datetime:
    """When a failure is reported: some time after it began and after metrics became available, whichever is later."""
    since = timestamps.parse(complaint.get("lastTransitionTime"))
    offered = state.observed.outlook.offered_since if state.observed.outlook is not None else None
    known = [time for time in (since, offered) if time is not None]
    return max(known) + AUTOSCALER_PATIENCE if known else state.observed.now
