"""Why the scheduler can't place a pod: one reason, with the numbers.

A node may lack several things. If it lacks only one, that is the reason for that node. Of several nodes the one that
lacks least counts: freeing a GPU there is a smaller change than making another node suitable. The message quotes the
scheduler.
"""

import re
from collections.abc import Sequence

from llmservice_contract.finding import Finding
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.diagnosis import admission
from llmservice_operator.planner.model import capacity, pods
from llmservice_operator.planner.model.capacity import Need
from llmservice_operator.planner.model.observed import NodeCapacity, Object
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons

_INSUFFICIENT = re.compile(r"Insufficient ([a-z0-9.-]+(?:/[A-Za-z0-9._-]+)?[a-z0-9])")
_HOST_FIELDS = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeralStorage"}
"""Fields of spec.resources, by the resource that the scheduler names."""
_NO_CLASS = re.compile(r"device class (\S+) does not exist")
_NO_DEVICES = "cannot allocate all claims"
_STAGES = (
    (reasons.NO_MATCHING_NODES, r"didn't match Pod's node affinity|node affinity/selector"),
    (reasons.NODES_UNAVAILABLE, r"node\.kubernetes\.io/(?:not-ready|unreachable)|were unschedulable|weren't ready"),
    (reasons.NODES_TAINTED, r"untolerated taint"),
)
"""Patterns of the scheduler's message. The check that the scheduler does last comes first."""
_KINDS = {
    capacity.LABELS: reasons.NO_MATCHING_NODES,
    capacity.PRODUCT: reasons.NO_MATCHING_NODES,
    capacity.TAINT: reasons.NODES_TAINTED,
    capacity.DOWN: reasons.NODES_UNAVAILABLE,
    capacity.CORDON: reasons.NODES_UNAVAILABLE,
}


def find(state: ServiceState, pod: Object, many: str) -> Finding:
    """Why ``many`` replicas have no node. ``pod`` is an unschedulable pod of one of them."""
    said = phrases.tail(str(pods.condition(pod, "PodScheduled").get("message", "")))
    need, nodes = Need.of(pod), state.observed.nodes
    if missing := _NO_CLASS.search(said):
        return _without_class(missing[1], many, said)
    host = [name for name in _HOST_FIELDS if name in set(_INSUFFICIENT.findall(said))]
    reason = _reason(need, nodes, said, host)
    field, fix = _advice(reason, state.spec, need, nodes, host)
    doubt = "another cause that the scheduler's message names" if reason == reasons.UNSCHEDULABLE else ""
    message = f"{many} can't be scheduled: {_why(reason, pod, need, nodes, host)}the scheduler says: {said}"
    numbers = {"devicesPerPod": str(need.count)} if need.resource is not None else {}
    return Finding(reason, message, numbers=numbers, alternative=doubt, field=field, fix=fix)


def _without_class(name: str, many: str, said: str) -> Finding:
    return Finding(
        reasons.DEVICE_CLASS_MISSING,
        f"{many} can't be scheduled: DeviceClass {name} does not exist; the scheduler says: {said}",
        field="spec.accelerator.deviceClassName",
        fix="install the driver that has this DeviceClass, or set spec.accelerator.deviceClassName to one that exists",
    )


def find_unclaimed(state: ServiceState, waiting: Sequence[Object], many: str) -> Finding | None:
    """Why a pod has no ResourceClaim, if Events report it: the scheduler does not process a pod before."""
    for pod in waiting:
        events = state.reported("Pod", pods.name(pod)) if pods.unclaimed(pod) else ()
        said = [each.note for each in events if reasons.of(reasons.DEVICE_CLAIM_MISSING).reported_by(each.reason)]
        if said:
            cause = admission.judge(said[-1])
            return Finding(
                reasons.DEVICE_CLAIM_MISSING,
                f"{many} has no ResourceClaim: {cause.message if cause else phrases.tail(said[-1])}",
                numbers=cause.numbers if cause else {},
                field=cause.field if cause else "",
                fix=cause.fix if cause else "see the message, and `kubectl describe pod`",
            )
    return None


def _reason(need: Need, nodes: Sequence[NodeCapacity] | None, said: str, host: Sequence[str]) -> str:
    if need.resource is not None and nodes:
        found = _by_nodes(need, nodes, host)
        # Devices are counted by the selectors that the operator can evaluate; the scheduler evaluates all.
        return reasons.NO_FREE_DEVICES if found == reasons.UNSCHEDULABLE and _NO_DEVICES in said else found
    if need.resource is not None and need.resource in _INSUFFICIENT.findall(said):
        return reasons.NO_FREE_DEVICES
    if _NO_DEVICES in said:
        return reasons.NO_FREE_DEVICES
    if host or "Too many pods" in said:
        return reasons.NO_FREE_HOST_RESOURCES
    return next((reason for reason, pattern in _STAGES if re.search(pattern, said)), reasons.UNSCHEDULABLE)


def _by_nodes(need: Need, nodes: Sequence[NodeCapacity], host: Sequence[str]) -> str:
    """The reason, by what keeps the pod off the nodes that have such devices."""
    resource = need.resource or ""
    holders = [node for node in nodes if node.allocatable.get(resource, 0) > 0]
    if not holders:
        return reasons.NO_SUCH_DEVICE
    ways = [capacity.in_the_way(need, node) for node in holders]
    if not all(ways):  # devices and labels of some node match
        return reasons.NO_FREE_HOST_RESOURCES if host else reasons.UNSCHEDULABLE
    least = min(ways, key=capacity.distance)
    if len(least) == 1 and least[0] == capacity.DEVICES:
        largest = max(
            node.allocatable[resource] for node, way in zip(holders, ways, strict=True) if way == [capacity.DEVICES]
        )
        return reasons.NODES_TOO_SMALL if need.count > largest else reasons.NO_FREE_DEVICES
    return next(_KINDS[way] for way in _KINDS if way in least)


def _why(reason: str, pod: Object, need: Need, nodes: Sequence[NodeCapacity] | None, host: Sequence[str]) -> str:
    if reason == reasons.NO_FREE_HOST_RESOURCES and host:
        requests = pods.resources(pod).get("requests") or {}
        asked = " and ".join(
            f"{requests.get(name, 'an amount')} of {name} (spec.resources.{_HOST_FIELDS[name]})" for name in host
        )
        return f"a replica requests {asked}, which no matching node has left; "
    if need.resource is None:
        return ""
    text = f"a replica needs {need.devices} on one node; "
    found = capacity.explain(need, nodes) if nodes is not None else ""
    return text + (f"{found}; " if found else "")


def _advice(
    reason: str,
    spec: LLMServiceSpec | None,
    need: Need,
    nodes: Sequence[NodeCapacity] | None,
    host: Sequence[str],
) -> tuple[str, str]:
    """The field to change first, and what to do."""
    scaled = spec is not None and spec.scaling is not None
    count = "spec.scaling.maxReplicas" if scaled else "spec.replicas"
    match reason:
        case reasons.NO_FREE_DEVICES:
            return (
                count,
                f"free devices, or request fewer replicas ({count}) or fewer devices for each (spec.parallelism)",
            )
        case reasons.NO_SUCH_DEVICE if device_class := capacity.of_class(need.resource or ""):
            return (
                "spec.accelerator.deviceClassName",
                f"check the driver of nodes that should have devices of DeviceClass {device_class} (`kubectl get "
                "resourceslices`), or choose another one (spec.accelerator.deviceClassName)",
            )
        case reasons.NO_SUCH_DEVICE:
            return (
                "spec.accelerator.resourceName",
                f"check the device plugin of nodes that should have {need.resource}, or choose another accelerator "
                "(spec.accelerator.type, spec.accelerator.resourceName)",
            )
        case reasons.NODES_TOO_SMALL if spec is not None and spec.parallelism.engines > 1:
            return (
                "spec.parallelism.data",
                "request fewer engines (spec.parallelism.data), each of which needs its own devices on this node, or "
                "fewer devices for each (spec.parallelism.tensor)",
            )
        case reasons.NODES_TOO_SMALL:
            return (
                "spec.parallelism.tensor",
                "request fewer devices (spec.parallelism.tensor), or spread the replica over several nodes "
                "(spec.parallelism.nodesPerReplica)",
            )
        case reasons.NO_FREE_HOST_RESOURCES:
            field = f"spec.resources.{_HOST_FIELDS[host[0]]}" if host else count
            return field, f"request less ({field}) or make room"
        case reasons.NODES_TAINTED:
            return "spec.scheduling.tolerations", f"tolerate it with spec.scheduling.tolerations{_taints(need, nodes)}"
        case reasons.NO_MATCHING_NODES:
            return _labels(need, nodes)
        case reasons.NODES_UNAVAILABLE:
            return "", "make a node available again: `kubectl uncordon`, or find out why its kubelet does not respond"
    return "", "see the scheduler's message"


def _taints(need: Need, nodes: Sequence[NodeCapacity] | None) -> str:
    """The first taint in the way, as a toleration; empty if it is not known."""
    for node in nodes or ():
        if need.resource is not None and not node.allocatable.get(need.resource, 0):
            continue
        for taint in capacity.untolerated(need, node):
            value = f", value: {taint['value']}" if taint.get("value") else ", operator: Exists"
            return f" ({{key: {taint['key']}{value}, effect: {taint.get('effect')}}})"
    return ""


def _labels(need: Need, nodes: Sequence[NodeCapacity] | None) -> tuple[str, str]:
    there = sorted({node.labels[label] for node in nodes or () for label in need.products if label in node.labels})
    fits = any(node.labels.get(label) in products for node in nodes or () for label, products in need.products.items())
    if need.products and not fits:
        named = f": there are {phrases.join_truncated(there)}" if there else ": no node has a product label"
        return "spec.accelerator.products", f"set spec.accelerator.products to products that nodes have{named}"
    return (
        "spec.scheduling.nodeSelector",
        "set spec.scheduling.nodeSelector to labels of a node with room, or add the labels to such a node",
    )
