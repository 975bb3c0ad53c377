"""Unschedulable pods because of a volume: the claim is missing or not bound, or its volume is on another node."""

import re
from collections.abc import Sequence

from llmservice_contract.finding import Finding
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model import volume_claims as disks
from llmservice_operator.planner.model.observed import Object, ObservedEvent
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons

_MISSING = re.compile(r'persistentvolumeclaim "(?P<claim>[^"]+)" not found')
_ELSEWHERE = re.compile(r"[vV]olume(?:'s)? node affinity")
_IN_USE = re.compile(r"ReadWriteOncePod access mode")
_UNBOUND = re.compile(
    r"unbound immediate PersistentVolumeClaims|available persistent volumes|non-existent persistentvolume"
    r'|storageclass\.storage\.k8s\.io "[^"]+" not found|persistentvolumeclaim "[^"]+" is being deleted'
)


def find(state: ServiceState, pod: Object, said: str) -> Finding | None:
    """The cause if the scheduler's message ``said`` is about a volume of ``pod``; otherwise None."""
    claims = pods.claims(pod)
    if missing := _MISSING.search(said):
        return Finding(
            reasons.CLAIM_MISSING,
            f"PersistentVolumeClaim {missing['claim']} does not exist in namespace {state.owner.namespace}",
            field="spec.model.source",
            fix="create it, or correct spec.model.source",
        )
    if not claims:
        return None
    named = phrases.join_truncated(claims)
    if _UNBOUND.search(said):
        trouble = [f"{event.name}: {event.note}" for event in _reported(state, claims)]
        own = any(name in claims for name in _own(state))
        return Finding(
            reasons.CLAIM_UNBOUND,
            f"PersistentVolumeClaim {named} has no volume that a node could mount: "
            + (phrases.tail(trouble[-1]) if trouble else phrases.tail(said)),
            field="spec.cache.storageClassName" if own else "",
            fix="set an existing class in spec.cache.storageClassName, and check its provisioner"
            if own
            else f"see `kubectl describe pvc {claims[0]}`: it needs an existing class, a working provisioner, or a "
            f"volume of its size",
        )
    if _IN_USE.search(said):
        return Finding(
            reasons.VOLUME_IN_USE,
            f"PersistentVolumeClaim {named} is ReadWriteOncePod, so one pod at a time can mount it, and another one "
            f"does: {phrases.tail(said)}",
            field="spec.model.source",
            fix="use a claim with the access mode ReadOnlyMany or ReadWriteMany, or set spec.replicas to 1 and "
            "spec.rollout.strategy to InPlace",
        )
    if _ELSEWHERE.search(said):
        return Finding(
            reasons.VOLUME_ELSEWHERE,
            f"the volume of PersistentVolumeClaim {named} can't be mounted on a node that has room: "
            f"{phrases.tail(said)}",
            field="spec.scheduling.nodeSelector",
            fix="free resources on the nodes that can mount it, or use a volume that several nodes can mount",
        )
    return None


def unbound_claims(state: ServiceState) -> list[str]:
    """Claims of unschedulable pods whose Events may say why they are not bound."""
    refused = filter(pods.refused, state.unbound_members)
    said = ((pod, str(pods.condition(pod, "PodScheduled").get("message", ""))) for pod in refused)
    return [name for pod, text in said if _UNBOUND.search(text) for name in pods.claims(pod)]


def _reported(state: ServiceState, claims: Sequence[str]) -> list[ObservedEvent]:
    return [
        each
        for each in state.reported("PersistentVolumeClaim", *claims)
        if each.reason in reasons.of(reasons.CLAIM_UNBOUND).read_from
    ]


def _own(state: ServiceState) -> list[str]:
    return [pods.name(claim) for _, _, claim in disks.claims(state)]
