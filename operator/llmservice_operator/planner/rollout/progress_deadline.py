"""The progress deadline of a rollout: a new revision has failed if one of its pods is not ready in time.

The deadline follows from the loading time of ready replicas with the same model, otherwise from the model's size. A
cause that does not pass by itself ends the rollout sooner. While a hub, an object store or a registry is unavailable,
the whole loading budget counts, since the creation of the pod.
"""

import dataclasses
import datetime

from llmservice_operator.planner import diagnosis
from llmservice_operator.planner.conditions import gang_scheduling, serving
from llmservice_operator.planner.diagnosis import node_autoscaler, termination_message
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.problem import problem as a_problem
from llmservice_operator.planner.rollout import steps
from llmservice_operator.planner.rollout.state import RolloutState, bound_at
from llmservice_operator.resources import loading

FACTOR, LEAST_SECONDS = 3, 120
"""Allowed loading time: this multiple of the time that other replicas took, plus this many seconds."""
PATIENCE_SECONDS = 120
"""How long a pod may lack a node, its image or a Secret, in seconds."""
ADMITTED_SECONDS = 30
"""Minimum of that time after the removal of the pod's scheduling gate, in seconds."""


@dataclasses.dataclass(frozen=True)
class DeadlineCheck:
    """The result for a new revision."""

    problem: diagnosis.Problem | None = None
    """Why it has failed; None while it may still become ready."""
    changes_at: datetime.datetime | None = None
    """When this may change because time passes."""
    waits: str = ""
    """The pod that waits for a node, until when, and what a node autoscaler reports, as part of a sentence."""


def record_nodes(fleet: RolloutState, record: Record) -> Record:
    """The record with the maximum number of replicas that had nodes at the same time, and since when fewer have."""
    placed = max(record.placed, fleet.placed)
    since = record.short
    if fleet.placed >= min(placed, fleet.wanted):
        since = ""
    elif not since and any(fleet.unplaceable(fleet.pods[number]) for number in fleet.updated_replicas):
        since = timestamps.show(fleet.state.observed.now)
    return dataclasses.replace(record, placed=placed, short=since)


def check_progress(fleet: RolloutState, record: Record) -> DeadlineCheck:
    """The result for all new pods. A surge pod, or one more than the cluster has room for, may stay without a node."""
    earliest: datetime.datetime | None = None
    waits = ""
    for number in sorted(fleet.updated_replicas & fleet.unready_replicas):
        pod = fleet.pods[number]
        surplus = number >= fleet.wanted and not fleet.bound(pod)
        if surplus or steps.excused(fleet, pod, record.placed):
            continue
        for each in fleet.group(pod):
            problem = serving.problem_of(fleet.state, each)
            if problem is None:
                continue
            deadline = _deadline(fleet, each, problem, record)
            if deadline is None:
                return DeadlineCheck(problem)
            if deadline <= fleet.state.observed.now:
                return DeadlineCheck(_too_late(fleet, each, problem, record))
            if not pods.bound(each) and fleet.unplaceable(pod) and (earliest is None or deadline < earliest):
                waits = f"{pods.name(each)} waits for a node until {timestamps.show(deadline)}{_reported(fleet, pod)}"
            earliest = min(earliest or deadline, deadline)
    return DeadlineCheck(changes_at=earliest, waits=waits)


def _reported(fleet: RolloutState, pod: Object) -> str:
    report = node_autoscaler.latest_report(fleet.state, fleet.group(pod))
    return f"; {report.message}" if report is not None else ""


def _too_late(fleet: RolloutState, pod: Object, problem: diagnosis.Problem, record: Record) -> diagnosis.Problem:
    """The problem as it is reported after the deadline."""
    if problem.kind == reasons.NOT_STARTED:
        held_back = fleet.state.once(gang_scheduling.plan_gang).result.verdict if pods.gated(pod) else None
        message = held_back.message if held_back else pods.condition(pod, "PodScheduled").get("message")
        said = phrases.tail(str(message or "no scheduler has processed it"))
        waited = phrases.duration((fleet.state.observed.now - _without_node_since(fleet, pod, record)).total_seconds())
        what = f"it has not been scheduled for {waited}: {said}{_reported(fleet, pod)}"
        return a_problem(reasons.UNSCHEDULABLE, pods.name(pod), what)
    if problem.kind == reasons.LOADING:
        allowed = phrases.duration(expected_seconds(fleet, record.same_model))
        others = f"; others took {phrases.duration(min(taken))}" if (taken := _loads(fleet, record.same_model)) else ""
        what = f"it was not ready {allowed} after its start{others}"
        return a_problem(reasons.LOADING_TOO_LONG, pods.name(pod), what)
    return problem


def expected_seconds(fleet: RolloutState, same_model: bool) -> float:
    """Seconds within which a new replica should be ready after its container has started."""
    budget, taken = _budget_seconds(fleet), _loads(fleet, same_model)
    return min(budget, FACTOR * min(taken) + LEAST_SECONDS) if taken else budget


def _budget_seconds(fleet: RolloutState) -> int:
    """The loading budget of the spec."""
    return loading.budget_seconds(fleet.state.spec) if fleet.state.spec is not None else loading.UNKNOWN_SECONDS


def _loads(fleet: RolloutState, same_model: bool) -> list[float]:
    """Loading times of replicas with the same model, in seconds."""
    return [taken for pod in fleet.pods.values() if same_model and (taken := _load_seconds(pod)) is not None]


@pods.read_once
def _load_seconds(pod: Object) -> float | None:
    """Seconds from the start of a ready pod's container until it was ready; None if not known."""
    running = (pods.container(pod).get("state") or {}).get("running") or {}
    begin, end = (
        timestamps.parse(running.get("startedAt")),
        timestamps.parse(pods.condition(pod, "Ready").get("lastTransitionTime")),
    )
    if not pods.ready(pod) or begin is None or end is None or end < begin:
        return None
    return (end - begin).total_seconds()


def _deadline(fleet: RolloutState, pod: Object, problem: diagnosis.Problem, record: Record) -> datetime.datetime | None:
    """How long the pod may have its problem; None if the deadline has passed."""
    made = pods.created_at(pod) or fleet.state.observed.now
    if problem.kind == reasons.LOADING_TOO_LONG or _hopeless(pod):
        return None
    if reasons.of(problem.reason).server_unavailable:
        return _after(max(made, gang_scheduling.admitted_at(pod)), _budget_seconds(fleet))
    if reasons.of(problem.kind).prevents_start:
        tried = fleet.state.observed.now if fleet.undecided(pod) else gang_scheduling.admitted_at(pod)
        if pods.bound(pod):
            return _after(made, PATIENCE_SECONDS)
        first = fleet.pods.get(pods.ordinal(pod), pod)
        since = _without_node_since(fleet, pod, record)
        until = node_autoscaler.waits_until(fleet.state, fleet.group(first), since, PATIENCE_SECONDS)
        return max(until, _after(tried, ADMITTED_SECONDS))
    running = (pods.container(pod).get("state") or {}).get("running") or {}
    allowed = expected_seconds(fleet, record.same_model)
    if problem.kind == reasons.STARTING:  # its image may still be on its way
        allowed += loading.LEAST_SECONDS
    return _after(timestamps.parse(running.get("startedAt")) or bound_at(pod) or made, allowed)


def _without_node_since(fleet: RolloutState, pod: Object, record: Record) -> datetime.datetime:
    """Since when the pod's missing node counts. It may have waited for long while as many replicas as before had
    nodes, and a replica on several nodes that releases its nodes gets new pods."""
    made = pods.created_at(pod) or fleet.state.observed.now
    return timestamps.parse(record.short) or made


def _after(time: datetime.datetime, seconds: float) -> datetime.datetime:
    return time + datetime.timedelta(seconds=seconds)


def _hopeless(pod: Object) -> bool:
    """Whether the engine has exited with a cause that the next start will meet too, or has exited twice. It may exit
    as often as it wants because of a server that is unavailable."""
    status = pods.container(pod)
    now = (status.get("state") or {}).get("terminated")
    ended = now or (status.get("lastState") or {}).get("terminated")
    if not ended:
        return False
    ends = int(status.get("restartCount") or 0) + (1 if now else 0)
    cause = termination_message.read(ended.get("message") or "").cause
    if reasons.of(cause).server_unavailable:
        return False
    return ends >= 2 or (bool(cause) and not reasons.of(cause).transient)
