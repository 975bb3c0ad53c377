"""Replicas on nodes that are lost: they come up elsewhere.

A node that is down can't confirm that its pods have ended, and Kubernetes waits for that for ever where a StatefulSet
has them: it can't know whether data is at stake. None is, so such pods are deleted by force. Where more than half
of all nodes seem to be down, it is more likely that nobody hears them: then nothing is done. A replica's own volume is
given up where it lies on a node that is lost or gone: what it holds can be had again.
"""

import datetime
from collections.abc import Iterable

from llmservice_operator.planner.conditions import serving
from llmservice_operator.planner.model import pods, volume_claims
from llmservice_operator.planner.model.observed import NOTHING, Input, NodeHealth, Object
from llmservice_operator.planner.model.plan import Deletion, deletion_of
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons

LOOK_AGAIN_SECONDS, SOON_SECONDS = 30.0, 10.0
"""How often it is looked whether the node of a pod that doesn't answer still does: no event tells of the node, and
none comes of a pod that was not ready before. Sooner, where a pod has stopped to answer."""


def suspected_nodes(state: ServiceState) -> list[Object]:
    """Pods that a lost node would explain."""
    there = (*state.engines, *state.workers)
    silent = (pod for pod in there if pods.bound(pod) and _silent(state, pod))
    return [*silent, *(pod for pod in state.leaving if pods.bound(pod))]


def deletions(state: ServiceState) -> tuple[Deletion, ...]:
    """The pods to delete by force now."""
    now = state.observed.now
    found = []
    for pod, since in _on_unready_nodes(state):
        if now >= _lost_at(state, since):
            node = pod["spec"]["nodeName"]
            found.append(deletion_of(pod, f"its node {node} has not been Ready since {since:%H:%M:%S}", force=True))
    return (*found, *_with_lost_volumes(state))


def stranded_pods(state: ServiceState) -> list[Object]:
    """Pods that find no node, maybe because of where their volume lies."""
    there = (pod for pod in (*state.engines, *state.workers) if not pods.bound(pod) and pods.refused(pod))
    return [pod for pod in there if pods.claims(pod)]


def claims_of_stranded(state: ServiceState) -> tuple[str, ...]:
    """The claims of their replicas' own."""
    own = {claim["metadata"]["name"] for _, _, claim in volume_claims.claims(state)}
    return tuple(name for pod in stranded_pods(state) for name in pods.claims(pod) if name in own)


def evaluate(state: ServiceState) -> Result:
    """Requires the health of nodes if a lost one would explain what pods lack; where the volumes lie of those that find
    none."""
    stranded = bool(claims_of_stranded(state))
    health = state.observed.missing(Input.HEALTH) if stranded or suspected_nodes(state) else NOTHING
    volumes = state.observed.missing(Input.VOLUMES) if stranded else NOTHING
    return Result(requires=health | volumes, recheck_at=_changes_at(state))


def _changes_at(state: ServiceState) -> datetime.datetime | None:
    """When a node that does not answer counts as lost, or is looked at again."""
    now = state.observed.now
    times = [_lost_at(state, since) for _, since in _on_unready_nodes(state)]
    if state.observed.health is not None and suspected_nodes(state):
        found = (serving.problem_of(state, pod) for pod in suspected_nodes(state))
        fallen_silent = any(each is not None and each.kind == reasons.NOT_READY for each in found)
        times.append(now + datetime.timedelta(seconds=SOON_SECONDS if fallen_silent else LOOK_AGAIN_SECONDS))
    return min((time for time in times if time > now), default=None)


def _on_unready_nodes(state: ServiceState) -> Iterable[tuple[Object, datetime.datetime]]:
    if (health := _believed(state)) is None:
        return []
    found = ((pod, health.unready.get(pod["spec"]["nodeName"])) for pod in suspected_nodes(state))
    return [(pod, since) for pod, since in found if since is not None]


def _with_lost_volumes(state: ServiceState) -> Iterable[Deletion]:
    """What a volume holds is there elsewhere too: one that only a lost node can mount is given up with its claim."""
    own = {claim["metadata"]["name"]: claim for _, _, claim in volume_claims.claims(state)}
    for pod in stranded_pods(state):
        for name in pods.claims(pod):
            only = (state.observed.volumes or {}).get(name)
            if name in own and only and all(_is_lost(state, node) for node in only):
                why = f"its volume is on {', '.join(sorted(only))}, which is lost"
                yield deletion_of(own[name], why)
                yield deletion_of(pod, why)


def _is_lost(state: ServiceState, node: str) -> bool:
    if (health := _believed(state)) is None:
        return False
    since = health.unready.get(health.names.get(node, node))
    gone = bool(health.names) and node not in health.names
    return gone or (since is not None and state.observed.now >= _lost_at(state, since))


def _believed(state: ServiceState) -> NodeHealth | None:
    """What is known of the nodes; None where so many seem to be down that more likely nobody hears them."""
    health = state.observed.health
    return None if health is None or 2 * len(health.unready) > health.total else health


def _lost_at(state: ServiceState, since: datetime.datetime) -> datetime.datetime:
    return since + datetime.timedelta(seconds=state.observed.platform.node_lost_seconds)


def _silent(state: ServiceState, pod: Object) -> bool:
    problem = serving.problem_of(state, pod)
    return problem is not None and reasons.of(problem.kind).node_may_be_lost
