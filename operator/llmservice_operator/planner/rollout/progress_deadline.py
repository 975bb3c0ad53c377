"""The progress deadline of a rollout: a new revision has failed if one of its pods is not ready in time.

The deadline follows from the loading time of ready replicas with the same model, otherwise from the model's size. A
cause that does not pass by itself ends the rollout sooner.
"""

import dataclasses
import datetime

from llmservice_operator.planner import diagnosis
from llmservice_operator.planner.conditions import gang_scheduling, serving
from llmservice_operator.planner.diagnosis import termination_message
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.problem import problem as a_problem
from llmservice_operator.planner.rollout import steps
from llmservice_operator.planner.rollout.state import RolloutState
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


def check_progress(fleet: RolloutState, record: Record) -> DeadlineCheck:
    """The result for all new pods. A surge pod, or one more than the cluster has room for, may stay without a node."""
    earliest: datetime.datetime | None = None
    for number, pod in sorted(fleet.pods.items()):
        surplus = number >= fleet.wanted and not fleet.bound(pod)
        if not fleet.updated(pod) or surplus or steps.excused(fleet, pod, record.placed):
            continue
        for each in fleet.group(pod):
            problem = serving.problem_of(fleet.state, each)
            if problem is None:
                continue
            deadline = _deadline(fleet, each, problem, record.same_model)
            if deadline is None:
                return DeadlineCheck(problem)
            if deadline <= fleet.state.observed.now:
                return DeadlineCheck(_too_late(fleet, each, problem, record.same_model))
            earliest = min(earliest or deadline, deadline)
    return DeadlineCheck(changes_at=earliest)


def _too_late(fleet: RolloutState, pod: Object, problem: diagnosis.Problem, same_model: bool) -> diagnosis.Problem:
    """The problem as it is reported after the deadline."""
    if problem.kind == reasons.NOT_STARTED:
        said = phrases.tail(str(pods.condition(pod, "PodScheduled").get("message") or "no scheduler has processed it"))
        waited = phrases.duration(PATIENCE_SECONDS)
        return a_problem(reasons.UNSCHEDULABLE, pods.name(pod), f"it has not been scheduled for {waited}: {said}")
    if problem.kind == reasons.LOADING:
        allowed = phrases.duration(expected_seconds(fleet, same_model))
        others = f"; others took {phrases.duration(min(taken))}" if (taken := _loads(fleet, same_model)) else ""
        what = f"it was not ready {allowed} after its start{others}"
        return a_problem(reasons.LOADING_TOO_LONG, pods.name(pod), what)
    return problem


def expected_seconds(fleet: RolloutState, same_model: bool) -> float:
    """Seconds within which a new replica should be ready after its container has started."""
    spec = fleet.state.spec
    budget = loading.budget_seconds(spec) if spec is not None else loading.UNKNOWN_SECONDS
    taken = _loads(fleet, same_model)
    return min(budget, FACTOR * min(taken) + LEAST_SECONDS) if taken else budget


def _loads(fleet: RolloutState, same_model: bool) -> list[float]:
    """Loading times of replicas with the same model, in seconds."""
    return [taken for pod in fleet.pods.values() if same_model and (taken := _load_seconds(pod)) is not None]


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


def _deadline(
    fleet: RolloutState, pod: Object, problem: diagnosis.Problem, same_model: bool
) -> datetime.datetime | None:
    """How long the pod may have its problem; None if the deadline has passed."""
    made = timestamps.parse(pod["metadata"].get("creationTimestamp")) or fleet.state.observed.now
    if problem.kind == reasons.LOADING_TOO_LONG or _hopeless(pod):
        return None
    if reasons.of(problem.kind).prevents_start:
        tried = fleet.state.observed.now if fleet.undecided(pod) else gang_scheduling.admitted_at(pod)
        return max(_after(made, PATIENCE_SECONDS), _after(tried, ADMITTED_SECONDS))
    running = (pods.container(pod).get("state") or {}).get("running") or {}
    allowed = expected_seconds(fleet, same_model)
    if problem.kind == reasons.STARTING:  # its image may still be on its way
        allowed += loading.LEAST_SECONDS
    return _after(timestamps.parse(running.get("startedAt")) or made, allowed)


def _after(time: datetime.datetime, seconds: float) -> datetime.datetime:
    return time + datetime.timedelta(seconds=seconds)


def _hopeless(pod: Object) -> bool:
    """Whether the engine has exited with a cause that the next start will meet too, or has exited twice."""
    status = pods.container(pod)
    now = (status.get("state") or {}).get("terminated")
    ended = now or (status.get("lastState") or {}).get("terminated")
    if not ended:
        return False
    ends = int(status.get("restartCount") or 0) + (1 if now else 0)
    cause = termination_message.read(ended.get("message") or "").cause
    return ends >= 2 or (bool(cause) and not reasons.of(cause).transient)
