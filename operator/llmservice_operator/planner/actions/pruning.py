"""Deletes children that are no longer needed."""

from collections.abc import Sequence

from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.foreign_changes import differs
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Deletion, deletion_of
from llmservice_operator.planner.model.rollout_record import noted_good
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.children import Children

_OF_REVISIONS = (kinds.CONFIGMAP.kind, kinds.RESOURCE_CLAIM_TEMPLATE.kind)
"""Kinds of immutable objects that the pods of each revision name."""


def obsolete_children(state: ServiceState, desired: Children) -> list[Deletion]:
    """Own objects that are no longer desired. ConfigMaps and ResourceClaimTemplates of older revisions are deleted
    after all pods are updated."""
    wanted = {(obj["kind"], obj["metadata"]["name"]) for obj in desired}
    statefulset = desired.leader
    done, owner = updated(state, statefulset), state.owner.name
    sets = [each["spec"]["template"] for each in (statefulset, state.statefulset) if each is not None]
    good = noted_good(statefulset)
    used = set[str]().union(*map(_names_of_revision, (*state.pods, *sets, *([good] if good else []))))
    found = []
    for kind in kinds.PRUNED:
        for child in state.own(kind):
            name = child["metadata"]["name"]
            if (kind, name) in wanted or (kind in _OF_REVISIONS and (name in used or not done)):
                continue
            if kind == "NetworkPolicy" and name in _policies_in_use(state):
                continue
            rank = names.rank_of_statefulset(owner, name) if kind == "StatefulSet" else 0
            if rank > 0 and (not done or rank < pods.nodes(statefulset["spec"]["template"])):
                continue
            found.append(deletion_of(child, "no longer needed"))
    return found


def obsolete_inspections(state: ServiceState, needed: Sequence[Object]) -> list[Deletion]:
    """Inspection Jobs whose facts are stored, and those of another model."""
    wanted = {job["metadata"]["name"] for job in needed}
    return [
        deletion_of(job, "its result is stored or no longer needed")
        for job in state.own("Job")
        if job["metadata"]["name"] not in wanted
    ]


def _policies_in_use(state: ServiceState) -> frozenset[str]:
    """NetworkPolicies of multi-node replicas that still have pods: these communicate until they terminate. Empty if the
    platform uses no policies."""
    if state.observed.platform.network is None:
        return frozenset()
    labels = [pod["metadata"].get("labels") or {} for pod in state.pods]
    numbers = [
        each[names.POD_INDEX_LABEL] for each in labels if {names.POD_INDEX_LABEL, names.NODES_LABEL} <= each.keys()
    ]
    return frozenset(names.network_policy(state.owner.name, int(each)) for each in numbers if each.isdecimal())


def updated(state: ServiceState, desired: Object) -> bool:
    """Whether the StatefulSet is as desired, its controller has observed it, and all its pods have its revision."""
    live = state.statefulset
    if live is None or differs(state, desired, live) or not _settled_on_spec(live):
        return False
    status = live["status"]
    newest = status.get("updateRevision")
    return status.get("currentRevision") == newest and all(pods.revision(pod) == newest for pod in state.engines)


def _settled_on_spec(statefulset: Object) -> bool:
    status = statefulset.get("status") or {}
    return bool(status.get("observedGeneration") == statefulset["metadata"].get("generation"))


@pods.read_once
def _names_of_revision(pod: Object) -> tuple[str, ...]:
    return pods.environments(pod) + pods.mounted_configmaps(pod) + pods.claim_templates(pod)
