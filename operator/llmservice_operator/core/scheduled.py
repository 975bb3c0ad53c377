"""The condition Scheduled: whether each replica's pod has a node, and if not, what is missing where."""

import re

from llmservice_operator.core import capacity, groups, pods, reasons, words
from llmservice_operator.core.observed import Object
from llmservice_operator.core.situation import Situation
from llmservice_operator.core.verdict import Verdict, no, unknown, yes
from llmservice_operator.render import names

_CLAIM_MISSING = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_CLAIM_PENDING = re.compile(
    r"unbound immediate PersistentVolumeClaims|[vV]olume('s)? node affinity|available persistent volumes"
)

_INSUFFICIENT = re.compile(r"Insufficient ([a-z0-9.-]+(?:/[A-Za-z0-9._-]+)?[a-z0-9])")
_HOST_FIELDS = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeralStorage"}
"""Fields of spec.resources by the resource that the scheduler names."""

REFRESH_SECONDS = 30.0
"""How often the nodes are looked at again while a pod finds none."""


def check(situation: Situation, placing: groups.Placing) -> Verdict:
    """The verdict on all pods of the engine. Of replicas on several nodes that are held back, ``placing`` tells why."""
    wanted = situation.wanted_replicas
    if situation.statefulset is not None and situation.spec is None:
        wanted = situation.running_replicas or 0
    if wanted == 0:
        return yes(reasons.SCALED_TO_ZERO, "no replica is asked for")
    if placing.verdict is not None:
        return placing.verdict
    waiting = [pod for pod in situation.members if not pods.bound(pod) and pods.ordinal(pod) < wanted]
    if waiting:
        return _waiting(situation, waiting, wanted)
    missing = max(0, wanted - len(situation.engines))
    there, all_there = len(situation.members), sum(map(pods.nodes, situation.engines)) + missing
    if there < all_there:
        hint = ""
        if situation.statefulset is not None:
            name = situation.statefulset["metadata"]["name"]
            hint = (
                f"; if this stays so, `kubectl describe statefulset {name}` names the quota or policy that refuses it"
            )
        return unknown(reasons.PODS_MISSING, f"{words.of(there, all_there, 'pod')} made{hint}")
    return yes(reasons.SCHEDULED, f"{words.of(there, there, 'pod')} on a node")


def unschedulable(situation: Situation) -> bool:
    """Whether the scheduler has refused a pod: then a look at the nodes says more."""
    return any(not pods.bound(pod) and (pods.gated(pod) or pods.refused(pod)) for pod in situation.members)


def _waiting(situation: Situation, waiting: list[Object], wanted: int) -> Verdict:
    refused = next((pod for pod in waiting if pods.refused(pod)), None)
    many = words.of(len({pods.ordinal(pod) for pod in waiting}), wanted, "replica")
    if refused is None and pods.gated(waiting[0]):
        return unknown(reasons.AWAITING_SCHEDULER, f"{many} waiting for the nodes of all their pods")
    if refused is None:
        if all(_held_by_others(pod) for pod in waiting):
            return no(reasons.SCHEDULING_GATED, f"{many} held back by a scheduling gate")
        return unknown(reasons.AWAITING_SCHEDULER, f"{many} waiting for the scheduler")
    said = words.clipped(str(pods.condition(refused, "PodScheduled").get("message", "")))
    claims = pods.claims(refused)
    missing = _CLAIM_MISSING.search(said)
    if missing:
        return no(
            reasons.VOLUME_NOT_READY,
            f"PersistentVolumeClaim {missing[1]} is not in namespace {situation.owner.namespace}: "
            "make it, or put spec.model.source right",
        )
    if claims and _CLAIM_PENDING.search(said):
        return no(
            reasons.VOLUME_NOT_READY,
            f"PersistentVolumeClaim {words.some(claims)} has no volume that a node could mount: {said}",
        )
    return no(
        reasons.UNSCHEDULABLE, f"{many} can't be scheduled: {_why(situation, refused, said)}the scheduler says: {said}"
    )


def _held_by_others(pod: Object) -> bool:
    """Whether the pod is behind a gate that is none of ours. What its condition says, lags behind."""
    gated = pods.condition(pod, "PodScheduled").get("reason") == "SchedulingGated"
    return gated and names.ADMITTED_ANNOTATION not in pods.annotations(pod)


def _why(situation: Situation, pod: Object, said: str) -> str:
    need = capacity.Need.of(pod)
    lacking = set(_INSUFFICIENT.findall(said))
    host = [name for name in _HOST_FIELDS if name in lacking]
    if host and need.resource not in lacking:
        requests = pods.resources(pod).get("requests") or {}
        asked = " and ".join(
            f"{requests.get(name, 'an amount')} of {name} (spec.resources.{_HOST_FIELDS[name]})" for name in host
        )
        return f"a replica asks for {asked}, which no node that fits has left: ask for less or make room; "
    if need.resource is None:
        return ""
    text = f"a replica needs {need.count} {need.resource} on one node; "
    nodes = situation.observed.nodes
    found = capacity.explain(need, nodes) if nodes is not None else ""
    return text + (f"{found}; " if found else "")
