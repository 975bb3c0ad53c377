"""Replicas on nodes that are lost: they come up elsewhere.

A node that is down can't confirm that its pods have ended, and Kubernetes waits for that for ever where a StatefulSet
has them: it can't know whether data is at stake. None is, so such pods are deleted by force. Where more than half
of all nodes seem to be down, it is more likely that nobody hears them: then nothing is done.
"""

import datetime
from collections.abc import Iterable

from llmservice_operator.core import cleanup, pods, reasons, serving
from llmservice_operator.core.observed import Object
from llmservice_operator.core.plan import Deletion
from llmservice_operator.core.situation import Situation

_MAY_BE_LOST = frozenset({reasons.NOT_READY, reasons.LOADING, reasons.STARTING})


def suspects(situation: Situation) -> list[Object]:
    """Pods that a lost node would explain."""
    silent = (pod for pod in situation.engines if pods.bound(pod) and _silent(situation, pod))
    return [*silent, *(pod for pod in situation.leaving if pods.bound(pod))]


def deletions(situation: Situation) -> tuple[Deletion, ...]:
    """The pods to delete by force now."""
    now = situation.observed.now
    found = []
    for pod, since in _on_unready_nodes(situation):
        if now >= _lost_at(situation, since):
            node = pod["spec"]["nodeName"]
            found.append(cleanup.delete(pod, f"its node {node} has not answered since {since:%H:%M:%S}", force=True))
    return tuple(found)


def changes_at(situation: Situation) -> datetime.datetime | None:
    """When a node that does not answer counts as lost."""
    times = [_lost_at(situation, since) for _, since in _on_unready_nodes(situation)]
    return min((time for time in times if time > situation.observed.now), default=None)


def _on_unready_nodes(situation: Situation) -> Iterable[tuple[Object, datetime.datetime]]:
    health = situation.observed.health
    if health is None or 2 * len(health.unready) > health.total:
        return []
    found = ((pod, health.unready.get(pod["spec"]["nodeName"])) for pod in suspects(situation))
    return [(pod, since) for pod, since in found if since is not None]


def _lost_at(situation: Situation, since: datetime.datetime) -> datetime.datetime:
    return since + datetime.timedelta(seconds=situation.observed.platform.node_lost_seconds)


def _silent(situation: Situation, pod: Object) -> bool:
    problem = serving.problem_of(situation, pod)
    return problem is not None and problem.reason in _MAY_BE_LOST
