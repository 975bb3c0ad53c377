"""The condition Serving: whether requests are answered, and if not, what keeps the pods from it."""

import dataclasses
import datetime
from collections.abc import Iterable

from llmservice_operator.core import diagnosis, pods, reasons, times, words
from llmservice_operator.core.observed import Object
from llmservice_operator.core.situation import Situation
from llmservice_operator.core.verdict import Verdict, no, yes
from llmservice_operator.render import loading, services

_GRAVITY = (
    reasons.CRASHED,
    reasons.OOM_KILLED,
    reasons.LOADING_TOO_LONG,
    reasons.CONTAINER_CONFIG,
    reasons.IMAGE_PULL,
    reasons.POD_FAILED,
    reasons.NOT_READY,
    reasons.LOADING,
    reasons.STARTING,
    reasons.NOT_STARTED,
)
"""Of several pods' problems the first in this order is told."""
NODE_MAY_BE_LOST = frozenset({reasons.NOT_READY, reasons.LOADING, reasons.STARTING})
"""What is the matter with a pod as far as anybody hears, where its node has gone silent."""


@dataclasses.dataclass(frozen=True)
class Health:
    """How the pods are."""

    verdict: Verdict
    ready: int
    """Replicas that answer requests."""
    problem: diagnosis.Problem | None
    """The gravest problem of a pod; None where there is none."""
    changes_at: datetime.datetime | None
    """When a message changes by time alone."""


def check(situation: Situation) -> Health:
    """The verdict on all pods of the engine."""
    wanted = situation.wanted_replicas
    ready = sum(pods.ready(pod) for pod in situation.engines)
    worst = gravest(problem_of(situation, pod) for pod in situation.members)
    changes_at = worst.changes_at if worst is not None else None
    return Health(_verdict(situation, wanted, ready, worst), ready, worst, changes_at)


def gravest(problems: Iterable[diagnosis.Problem | None]) -> diagnosis.Problem | None:
    """The one that is told; None where there is none."""
    found = (problem for problem in problems if problem is not None)
    return min(found, key=lambda problem: _GRAVITY.index(problem.reason), default=None)


def problem_of(situation: Situation, pod: Object) -> diagnosis.Problem | None:
    """What keeps one pod from serving; None for a ready one."""
    budget = loading.budget_seconds(situation.spec) if situation.spec is not None else None
    found = diagnosis.diagnose(diagnosis.Patient(pod, situation.observed.now, budget))
    health, node = situation.observed.health, pod.get("spec", {}).get("nodeName", "")
    since = health.unready.get(node) if health is not None else None
    if found is None or since is None or found.reason not in NODE_MAY_BE_LOST:
        return found
    said = f"{pods.name(pod)}: its node {node} has not answered since {times.show(since)}"
    return diagnosis.Problem(found.reason, said)


def _verdict(situation: Situation, wanted: int, ready: int, worst: diagnosis.Problem | None) -> Verdict:
    answering = f"{words.of(ready, max(wanted, ready), 'replica')} answering"
    if ready and (ready >= wanted or wanted == 0):
        return yes(reasons.SERVING, f"{answering} at {services.address(situation.owner, situation.observed.platform)}")
    if ready:
        return yes(reasons.PARTLY_READY, f"{answering}" + (f"; {worst.message}" if worst else ""))
    if wanted == 0:
        return no(reasons.SCALED_TO_ZERO, "no replica is asked for: spec.replicas is 0")
    if worst is None:
        return no(reasons.NOT_STARTED, "no pod runs yet")
    return no(worst.reason, worst.message)
