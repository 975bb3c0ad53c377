"""When a new revision is given up: once one of its pods is not ready within the time that it can be expected to take.

How long that is, is taken from replicas that are ready where they serve the same model, else from the model's size. A
cause that doesn't pass by itself ends it sooner.
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
"""A replica may take this many times what others took, and this many seconds more."""
PATIENCE_SECONDS = 120
"""How long a pod may lack a node, its image, or a Secret."""
ADMITTED_SECONDS = 30
"""How long it may at least from when its gate was taken away."""


@dataclasses.dataclass(frozen=True)
class DeadlineCheck:
    """What becomes of a new revision."""

    problem: diagnosis.Problem | None = None
    """Why it is given up; None while it may still get ready."""
    changes_at: datetime.datetime | None = None
    """When time alone may change that."""


def check_progress(fleet: RolloutState, record: Record) -> DeadlineCheck:
    """The prospect of all new pods. A replica more may lack a node for ever, and so may one beyond what has a place."""
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
    """The problem as it is told once it has lasted too long."""
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
    """Seconds within which a new replica should be ready once its container runs."""
    spec = fleet.state.spec
    budget = loading.budget_seconds(spec) if spec is not None else loading.UNKNOWN_SECONDS
    taken = _loads(fleet, same_model)
    return min(budget, FACTOR * min(taken) + LEAST_SECONDS) if taken else budget


def _loads(fleet: RolloutState, same_model: bool) -> list[float]:
    """Seconds that replicas of the same model took."""
    return [taken for pod in fleet.pods.values() if same_model and (taken := _load_seconds(pod)) is not None]


def _load_seconds(pod: Object) -> float | None:
    """Seconds that a ready pod took from its container's start."""
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
    """Until when the pod may have its problem; None: no longer."""
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
    """Whether the engine has ended for a cause that the next start will meet too, or has ended twice."""
    status = pods.container(pod)
    now = (status.get("state") or {}).get("terminated")
    ended = now or (status.get("lastState") or {}).get("terminated")
    if not ended:
        return False
    ends = int(status.get("restartCount") or 0) + (1 if now else 0)
    cause = termination_message.read(ended.get("message") or "").cause
    return ends >= 2 or (bool(cause) and not reasons.of(cause).transient)
