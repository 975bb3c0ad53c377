"""Replicas on failed nodes: their pods are deleted by force, so that they start on other nodes.

A failed node can't confirm that its pods have terminated, and a StatefulSet waits for that forever to protect data. The
pods here have no such data. If more than half of all nodes seem to have failed, the control plane has more likely lost
the connection to them: then nothing is deleted. The volume of a replica is deleted too if it is on a failed or removed
node, because its content can be downloaded again.
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
"""How often the node of an unready pod is checked, in seconds: no watch reports its failure, and none reports a pod
that was not ready before. The shorter interval is for a pod that has just stopped answering."""


def suspected_nodes(state: ServiceState) -> tuple[Object, ...]:
    """Pods whose problem a failed node would explain."""
    return state.once(_suspected_nodes)


def _suspected_nodes(state: ServiceState) -> tuple[Object, ...]:
    silent = (pod for pod in state.unready if pods.bound(pod) and _silent(state, pod))
    return (*silent, *(pod for pod in state.leaving if pods.bound(pod)))


def deletions(state: ServiceState) -> tuple[Deletion, ...]:
    """The pods to delete by force now, and volumes on failed nodes."""
    now = state.observed.now
    found = []
    for pod, since in _on_unready_nodes(state):
        if now >= _lost_at(state, since):
            node = pod["spec"]["nodeName"]
            found.append(deletion_of(pod, f"its node {node} has not been Ready since {since:%H:%M:%S}", force=True))
    return (*found, *_with_lost_volumes(state))


def stranded_pods(state: ServiceState) -> list[Object]:
    """Unschedulable pods with claims: their volumes may be on a failed node."""
    return state.once(_stranded_pods)


def _stranded_pods(state: ServiceState) -> list[Object]:
    return [pod for pod in state.unbound if pods.refused(pod) and pods.claims(pod)]


def claims_of_stranded(state: ServiceState) -> tuple[str, ...]:
    """Those of their claims that belong to the replicas themselves."""
    stranded = stranded_pods(state)
    own = {claim["metadata"]["name"] for _, _, claim in volume_claims.claims(state)} if stranded else set()
    return tuple(name for pod in stranded for name in pods.claims(pod) if name in own)


def evaluate(state: ServiceState) -> Result:
    """Requires the health of the nodes if a failed one would explain a problem, and the location of volumes if a pod
    with a claim is unschedulable."""
    stranded = bool(claims_of_stranded(state))
    health = state.observed.missing(Input.HEALTH) if stranded or suspected_nodes(state) else NOTHING
    volumes = state.observed.missing(Input.VOLUMES) if stranded else NOTHING
    return Result(requires=health | volumes, recheck_at=_changes_at(state))


def _changes_at(state: ServiceState) -> datetime.datetime | None:
    """When a node counts as failed, or is checked again."""
    now = state.observed.now
    times = [_lost_at(state, since) for _, since in _on_unready_nodes(state)]
    if state.observed.health is not None and suspected_nodes(state):
        found = (serving.problem_of(state, pod) for pod in suspected_nodes(state))
        stopped_answering = any(each is not None and each.kind == reasons.NOT_READY for each in found)
        times.append(now + datetime.timedelta(seconds=SOON_SECONDS if stopped_answering else LOOK_AGAIN_SECONDS))
    return min((time for time in times if time > now), default=None)


def _on_unready_nodes(state: ServiceState) -> Iterable[tuple[Object, datetime.datetime]]:
    if (health := _reliable_health(state)) is None:
        return []
    found = ((pod, health.unready.get(pod["spec"]["nodeName"])) for pod in suspected_nodes(state))
    return [(pod, since) for pod, since in found if since is not None]


def _with_lost_volumes(state: ServiceState) -> Iterable[Deletion]:
    """Claims whose volume only failed nodes can mount, and their pods. The content can be downloaded again."""
    stranded = stranded_pods(state)
    own = {claim["metadata"]["name"]: claim for _, _, claim in volume_claims.claims(state)} if stranded else {}
    for pod in stranded:
        for name in pods.claims(pod):
            only = (state.observed.volumes or {}).get(name)
            if name in own and only and all(_is_lost(state, node) for node in only):
                why = f"its volume is on {', '.join(sorted(only))}, which has failed"
                yield deletion_of(own[name], why)
                yield deletion_of(pod, why)


def _is_lost(state: ServiceState, node: str) -> bool:
    if (health := _reliable_health(state)) is None:
        return False
    since = health.unready.get(health.names.get(node, node))
    gone = bool(health.names) and node not in health.names
    return gone or (since is not None and state.observed.now >= _lost_at(state, since))


def _reliable_health(state: ServiceState) -> NodeHealth | None:
    """The health of the nodes; None if it is unknown or so many seem to have failed that it is not reliable."""
    health = state.observed.health
    return None if health is None or 2 * len(health.unready) > health.total else health


def _lost_at(state: ServiceState, since: datetime.datetime) -> datetime.datetime:
    return since + datetime.timedelta(seconds=state.observed.platform.node_lost_seconds)


def _silent(state: ServiceState, pod: Object) -> bool:
    problem = serving.problem_of(state, pod)
    return problem is not None and reasons.of(problem.kind).node_may_be_lost
