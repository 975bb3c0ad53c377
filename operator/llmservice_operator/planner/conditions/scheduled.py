"""The condition Scheduled: whether every pod has a node, and if not, what is missing."""

import dataclasses

from llmservice_operator.planner.conditions import gang_scheduling
from llmservice_operator.planner.diagnosis import admission, node_autoscaler, scheduling, volume_binding
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.observed import EVENTS_SECONDS, NOTHING, Input, Object
from llmservice_operator.planner.model.result import Result, earliest
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, of, unknown, yes
from llmservice_operator.resources import names

REFRESH_SECONDS = 30.0
"""How often the nodes are read again while a pod is unschedulable."""


def evaluate(state: ServiceState) -> Result:
    """The condition Scheduled."""
    gang, refused_pod, events = (
        state.once(gang_scheduling.plan_gang).result,
        unschedulable(state),
        needs_events(state),
    )
    return Result(
        state.once(check),
        gang.requires
        | (state.observed.missing(Input.NODES) if refused_pod else NOTHING)
        | (state.observed.missing(Input.EVENTS) if events else NOTHING),
        earliest(
            gang.recheck_at,
            state.after(REFRESH_SECONDS) if refused_pod else None,
            state.after(EVENTS_SECONDS) if events else None,
        ),
    )


def check(state: ServiceState) -> Verdict:
    """The verdict on all pods of the engine."""
    wanted = state.wanted_replicas
    if state.statefulset is not None and state.spec is None:
        wanted = state.running_replicas or 0
    if wanted == 0:
        return yes(reasons.SCALED_TO_ZERO, "Scaled to zero")
    held_back = state.once(gang_scheduling.plan_gang).result.verdict
    if held_back is not None:
        return held_back
    waiting = [pod for pod in state.unbound_members if pods.ordinal(pod) < wanted]
    if waiting:
        return _waiting(state, waiting, wanted)
    there, all_there = _made(state, wanted)
    if there < all_there:
        return _missing(state, phrases.count_of(there, all_there, "pod"))
    return yes(reasons.SCHEDULED, f"{phrases.count_of(there, there, 'pod')} on a node")


def unschedulable(state: ServiceState) -> bool:
    """Whether the scheduler can't place a pod, so that the nodes are needed to say why."""
    return any(pods.gated(pod) or pods.refused(pod) for pod in state.unbound_members)


def needs_events(state: ServiceState) -> bool:
    """Whether Events may say more: who rejects a pod, why a claim is not bound or not created, or whether a node
    autoscaler adds a node."""
    refused = any(not pods.gated(pod) and pods.refused(pod) for pod in state.unbound_members)
    awaits_nodes = refused and node_autoscaler.limit_seconds(state) != 0
    unclaimed = any(map(pods.unclaimed, state.unbound_members))
    return unclaimed or awaits_nodes or lacks_pods(state) or bool(volume_binding.unbound_claims(state))


def lacks_pods(state: ServiceState) -> bool:
    """Whether pods are missing although the StatefulSet controller has processed the current spec."""
    live = state.statefulset
    if live is None or (live.get("status") or {}).get("observedGeneration") != live["metadata"].get("generation"):
        return False
    there, all_there = _made(state, state.wanted_replicas)
    return there < all_there and not state.leaving


def _made(state: ServiceState, wanted: int) -> tuple[int, int]:
    """The number of existing pods and the desired number."""
    missing = max(0, wanted - len(state.engines))
    return len(state.members), state.once(_pods_of_replicas) + missing


def _pods_of_replicas(state: ServiceState) -> int:
    return len(state.engines) + sum(pods.nodes(pod) - 1 for pod in state.leads_several)


def _missing(state: ServiceState, made: str) -> Verdict:
    finding = admission.find(state)
    if finding is not None:
        return of(dataclasses.replace(finding, message=f"{made} made; {finding.message}"), reasons.PODS_REFUSED)
    hint = ""
    if state.statefulset is not None:
        name = state.statefulset["metadata"]["name"]
        hint = f"; if this persists, `kubectl describe statefulset {name}` shows the quota or policy that rejects it"
    return unknown(reasons.PODS_MISSING, f"{made} made{hint}")


def _waiting(state: ServiceState, waiting: list[Object], wanted: int) -> Verdict:
    turned_down = next((pod for pod in waiting if pods.refused(pod)), None)
    many = phrases.count_of(len({pods.ordinal(pod) for pod in waiting}), wanted, "replica")
    unclaimed = scheduling.find_unclaimed(state, waiting, many)
    if unclaimed is not None:
        return of(unclaimed, reasons.UNSCHEDULABLE)
    if turned_down is None and pods.gated(waiting[0]):
        return unknown(reasons.AWAITING_SCHEDULER, f"{many} waiting until all their pods can be scheduled")
    if turned_down is None:
        if all(_held_by_others(pod) for pod in waiting):
            return no(reasons.SCHEDULING_GATED, f"{many} held back by a scheduling gate")
        return unknown(reasons.AWAITING_SCHEDULER, f"{many} waiting for the scheduler")
    said = phrases.tail(str(pods.condition(turned_down, "PodScheduled").get("message", "")))
    finding = volume_binding.find(state, turned_down, said)
    if finding is not None:
        return of(finding, reasons.VOLUME_NOT_READY)
    found = scheduling.find(state, turned_down, many)
    report = node_autoscaler.latest_report(state, (pod for pod in waiting if not pods.gated(pod)))
    if report is not None:
        found = dataclasses.replace(found, message=f"{found.message}; {report.message}")
    until = state.once(gang_scheduling.plan_gang).waits_until
    if until is not None:
        waits = (
            f"if a pod of the replica has no node by {timestamps.show(until)}, it releases its nodes and tries again"
        )
        found = dataclasses.replace(found, message=f"{found.message}; {waits}")
    return of(found, reasons.UNSCHEDULABLE)


def _held_by_others(pod: Object) -> bool:
    """Whether the pod has a scheduling gate of another owner. Its condition may be older than its gates."""
    gated = pods.condition(pod, "PodScheduled").get("reason") == "SchedulingGated"
    return gated and names.ADMITTED_ANNOTATION not in pods.annotations(pod)
