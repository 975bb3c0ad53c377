"""The condition Serving: whether requests are answered, and if not, why the pods do not serve."""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

from llmservice_operator.planner import diagnosis
from llmservice_operator.planner.diagnosis import crash_loop
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.observed import EVENTS_SECONDS, NOTHING, Input, Object
from llmservice_operator.planner.model.result import Result, earliest
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no, yes
from llmservice_operator.planner.report.problem import problem as a_problem
from llmservice_operator.resources import loading, services


@dataclasses.dataclass(frozen=True)
class Health:
    """The health of a service's pods."""

    verdict: Verdict
    ready: int
    """Number of replicas that answer requests."""
    problems: Sequence[diagnosis.Problem]
    """Problems of the pods, the most severe first."""
    changes_at: datetime.datetime | None
    """When a message changes because time passes."""

    @property
    def problem(self) -> diagnosis.Problem | None:
        """The most severe problem of a pod; None if there is none."""
        return self.problems[0] if self.problems else None


def evaluate(state: ServiceState) -> Result:
    """The condition Serving."""
    health = state.once(check)
    again = state.after(EVENTS_SECONDS) if waits_for_events(health) else None
    return Result(health.verdict, required(state, health), earliest(health.changes_at, again))


def check(state: ServiceState) -> Health:
    """The verdict on all pods of the engine."""
    wanted = state.wanted_replicas
    ready = len(state.engines) - sum(pods.rank(pod) == 0 for pod in state.unready)
    members = state.members if state.unready else ()
    found = [problem for pod in members if (problem := problem_of(state, pod)) is not None]
    problems = crash_loop.with_root_cause(state, sorted(found, key=_severity_order))
    worst = problems[0] if problems else None
    changes_at = worst.changes_at if worst is not None else None
    return Health(_verdict(state, wanted, ready, worst), ready, problems, changes_at)


def most_severe(problems: Iterable[diagnosis.Problem | None]) -> diagnosis.Problem | None:
    """The most severe problem; None if there is none."""
    return min((problem for problem in problems if problem is not None), key=_severity_order, default=None)


def problem_of(state: ServiceState, pod: Object) -> diagnosis.Problem | None:
    """Why a pod does not serve; None if it is ready."""
    if pods.ready(pod):
        return None
    known = state.once(_known_problems)
    if id(pod) not in known:
        known[id(pod)] = pod, _problem_of(state, pod)
    return known[id(pod)][1]


def _known_problems(_: ServiceState) -> dict[int, tuple[Object, diagnosis.Problem | None]]:
    """By the identity of a pod, which the entry keeps alive."""
    return {}


def _problem_of(state: ServiceState, pod: Object) -> diagnosis.Problem | None:
    budget = loading.budget_seconds(state.spec) if state.spec is not None else None
    events = state.reported("Pod", pods.name(pod))
    own_image = state.spec is not None and state.spec.pod.image is not None
    context = diagnosis.PodContext(pod, state.observed.now, budget, events=events, own_image=own_image)
    found = diagnosis.diagnose(context)
    health, node = state.observed.health, pod.get("spec", {}).get("nodeName", "")
    since = health.unready.get(node) if health is not None else None
    if found is None or since is None or not reasons.of(found.kind).node_may_be_lost:
        return found
    return a_problem(
        found.kind,
        pods.name(pod),
        f"its node {node} has not been Ready since {timestamps.show(since)}",
        cause=reasons.NODE_LOST,
        fix=f"check node {node}; after {phrases.duration(state.observed.platform.node_lost_seconds)} the operator "
        "starts the replica on another node",
    )


def required(state: ServiceState, health: Health) -> frozenset[Input]:
    """Events, if they may give a more exact cause."""
    more = any(
        reasons.of(problem.kind).events_tell_more or reasons.of(problem.reason).events_tell_more
        for problem in health.problems
    )
    return state.observed.missing(Input.EVENTS) if more else NOTHING


def waits_for_events(health: Health) -> bool:
    """Whether Events may appear without a change of the pod, so that they have to be read again."""
    return any(problem.kind == reasons.STARTING for problem in health.problems)


def _severity_order(problem: diagnosis.Problem) -> tuple[int, bool]:
    """Sort key: most severe first; within a category, problems with a cause of their own first."""
    return -reasons.of(problem.kind).severity, problem.reason == problem.kind


def _verdict(state: ServiceState, wanted: int, ready: int, worst: diagnosis.Problem | None) -> Verdict:
    answering = f"{phrases.count_of(ready, max(wanted, ready), 'replica')} answering"
    if ready and (ready >= wanted or wanted == 0):
        return yes(reasons.SERVING, f"{answering} at {services.address(state.owner, state.observed.platform)}")
    if ready:
        return yes(reasons.PARTLY_READY, f"{answering}" + (f"; {worst.message}" if worst else ""))
    if wanted == 0:
        return no(reasons.SCALED_TO_ZERO, "Scaled to zero (spec.replicas is 0)")
    if worst is None:
        return no(reasons.NOT_STARTED, "no pod is running yet")
    return Verdict("False", worst.reason, worst.message, worst.kind)
