"""Accessors for the JSON of a pod."""

import datetime
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import names

_NUMBER = re.compile(r"[0-9]{1,9}")
"""A number in a name or a label. Anyone who may write pods may set their labels."""

T = TypeVar("T")


class ParsedPod(dict[str, Any]):
    """The JSON of a pod that does not change any more, with what was read of it by functions that are ``read_once``.

    A plan asks the same about each pod many times, and a service has up to a thousand of them.
    """

    __slots__ = ("known",)

    def __init__(self, pod: Object) -> None:
        super().__init__(pod)
        self.known: dict[Callable[[Object], Any], Any] = {}
        """What was read, by the function."""


def parsed(pod: Object) -> ParsedPod:
    """The pod as one whose fields are read once."""
    return pod if type(pod) is ParsedPod else ParsedPod(pod)


def read_once(read: Callable[[Object], T]) -> Callable[[Object], T]:
    """``read`` with its result kept in a ParsedPod. The result must depend on the pod alone and must not be changed."""

    @functools.wraps(read)
    def known(pod: Object) -> T:
        if type(pod) is not ParsedPod:
            return read(pod)
        found = pod.known
        if read not in found:
            found[read] = read(pod)
        result: T = found[read]
        return result

    return known


def name(pod: Object) -> str:
    """The pod's name."""
    return str(pod["metadata"]["name"])


@read_once
def component(pod: Object) -> str:
    """The component of the service that the pod belongs to."""
    return str(pod["metadata"].get("labels", {}).get(names.COMPONENT_LABEL, ""))


@read_once
def revision(pod: Object) -> str:
    """The StatefulSet revision of the pod; empty if unknown."""
    return str(pod["metadata"].get("labels", {}).get(names.REVISION_LABEL, ""))


@read_once
def ordinal(pod: Object) -> int:
    """The replica's number; -1 if the name has none."""
    last = name(pod).rpartition("-")[2]
    return int(last) if _NUMBER.fullmatch(last) else -1


@read_once
def rank(pod: Object) -> int:
    """The pod's rank in its replica; 0 if it is the only pod."""
    return _number(pod, names.RANK_LABEL, 0)


@read_once
def nodes(pod: Object) -> int:
    """Number of pods of a replica, by one of its pods or its template."""
    return _number(pod, names.NODES_LABEL, 1)


@read_once
def gated(pod: Object) -> bool:
    """Whether the pod has this operator's scheduling gate."""
    gates = pod.get("spec", {}).get("schedulingGates") or ()
    return any(gate["name"] == names.GROUP_GATE for gate in gates)


@read_once
def created_at(pod: Object) -> datetime.datetime | None:
    """When the pod was created; None if that is not known."""
    return timestamps.parse(pod["metadata"].get("creationTimestamp"))


def terminating(pod: Object) -> bool:
    """Whether the pod is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


@read_once
def is_orphan(pod: Object) -> bool:
    """Whether it is an engine pod without a controller that is not being deleted."""
    engine = component(pod) in (names.ENGINE_COMPONENT, names.RANK_COMPONENT)
    return engine and controller(pod) is None and not terminating(pod)


@read_once
def bound(pod: Object) -> bool:
    """Whether the pod has a node."""
    return bool(pod.get("spec", {}).get("nodeName"))


@read_once
def refused(pod: Object) -> bool:
    """Whether the pod is unschedulable."""
    return condition(pod, "PodScheduled").get("reason") == "Unschedulable"


@read_once
def ready(pod: Object) -> bool:
    """Whether the pod answers requests."""
    return bool(_condition(pod, "Ready").get("status") == "True")


def condition(pod: Object, kind: str) -> dict[str, Any]:
    """The pod's condition of that type; empty if there is none."""
    return dict(_condition(pod, kind))


def container(pod: Object, container_name: str = ENGINE_CONTAINER) -> dict[str, Any]:
    """Status of a container; empty if the kubelet has not reported it yet."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return dict(next((status for status in statuses if status["name"] == container_name), {}))


def resources(pod: Object, container_name: str = ENGINE_CONTAINER) -> dict[str, Any]:
    """Requests and limits of a container."""
    containers = pod.get("spec", {}).get("containers") or ()
    return dict(next((item.get("resources") or {} for item in containers if item["name"] == container_name), {}))


@read_once
def mounted_configmaps(pod: Object) -> tuple[str, ...]:
    """Names of the ConfigMaps that are mounted as volumes."""
    volumes = pod.get("spec", {}).get("volumes") or ()
    return tuple(str(volume["configMap"]["name"]) for volume in volumes if "configMap" in volume)


@read_once
def claims(pod: Object) -> tuple[str, ...]:
    """Names of the claims that are mounted."""
    volumes = pod.get("spec", {}).get("volumes") or ()
    return tuple(str(v["persistentVolumeClaim"]["claimName"]) for v in volumes if "persistentVolumeClaim" in v)


@read_once
def claim_templates(pod: Object) -> tuple[str, ...]:
    """Names of the ResourceClaimTemplates from which the pod's devices are claimed."""
    claims = pod.get("spec", {}).get("resourceClaims") or ()
    return tuple(str(claim["resourceClaimTemplateName"]) for claim in claims if claim.get("resourceClaimTemplateName"))


@read_once
def unclaimed(pod: Object) -> bool:
    """Whether the pod claims devices and Kubernetes has not created its ResourceClaim yet."""
    wanted = pod.get("spec", {}).get("resourceClaims") or ()
    made = {each.get("name") for each in pod.get("status", {}).get("resourceClaimStatuses") or ()}
    return not bound(pod) and any(claim.get("name") not in made for claim in wanted)


@read_once
def claimed_volumes(pod: Object) -> frozenset[str]:
    """Names of the volumes that are backed by claims."""
    volumes = pod.get("spec", {}).get("volumes") or ()
    return frozenset(str(volume["name"]) for volume in volumes if "persistentVolumeClaim" in volume)


@read_once
def environments(pod: Object) -> tuple[str, ...]:
    """Names of the ConfigMaps from which containers take their environment."""
    return tuple(
        str(source["configMapRef"]["name"])
        for container in pod.get("spec", {}).get("containers") or ()
        for source in container.get("envFrom") or ()
        if "configMapRef" in source
    )


def annotations(obj: Object) -> Mapping[str, str]:
    """The object's annotations."""
    return obj["metadata"].get("annotations") or {}


def owned_by(obj: Object, uid: str) -> bool:
    """Whether the object with ``uid`` is the controller of ``obj``."""
    owner = controller(obj)
    return owner is not None and owner.get("uid") == uid


@read_once
def controller(obj: Object) -> Mapping[str, Any] | None:
    """The owner reference with controller=true; None for an object that has none."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((dict(owner) for owner in owners if owner.get("controller")), None)


def _condition(pod: Object, kind: str) -> Mapping[str, Any]:
    for found in pod.get("status", {}).get("conditions") or ():
        if found["type"] == kind:
            return cast(Mapping[str, Any], found)
    return {}


def _number(pod: Object, label: str, otherwise: int) -> int:
    text = str((pod["metadata"].get("labels") or {}).get(label, ""))
    return int(text) if text and _NUMBER.fullmatch(text) else otherwise
