"""Why no node takes a pod: node by node, the first thing that is in the way, with the arithmetic of the devices."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import NodeCapacity, Object
from llmservice_operator.planner.report import phrases
from llmservice_operator.resources import names

DOWN, CORDON, PRODUCT, LABELS, TAINT, DEVICES = "down", "cordon", "product", "labels", "taint", "devices"
"""What may stand in the way on a node."""
_NEAREST = (DEVICES, DOWN, CORDON, TAINT, LABELS, PRODUCT)
"""Of nodes that lack one thing each, those first that are the nearest to do: to free a device there is less than to
change which nodes will do."""
_OF_KUBERNETES = "node.kubernetes.io/"
"""Keys of taints by which Kubernetes says that a node is down, cordoned or short of something."""
_PRODUCT_LABELS = (names.NVIDIA_PRODUCT_LABEL, names.AMD_PRODUCT_LABEL)


@dataclasses.dataclass(frozen=True)
class Need:
    """What one pod asks of a node."""

    resource: str | None
    """Its extended resource; None where it asks for none."""
    count: int
    products: Mapping[str, Sequence[str]]
    """Products that will do, by node label."""
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, pod: Object) -> "Need":
        """Read the need from the pod itself."""
        spec = pod.get("spec", {})
        limits = pods.resources(pod).get("limits") or {}
        resource = next((name for name in limits if "/" in name), None)
        return cls(
            resource=resource,
            count=int(limits[resource]) if resource else 0,
            products=_products(spec),
            node_selector=spec.get("nodeSelector") or {},
            tolerations=spec.get("tolerations") or (),
        )


def explain(need: Need, nodes: Sequence[NodeCapacity]) -> str:
    """What the nodes lack, as part of a sentence; empty where the devices are not what is in the way.

    At most five nodes are named, those first that lack least, and of these those with most free devices.
    """
    if need.resource is None:
        return ""
    holders = [node for node in nodes if node.allocatable.get(need.resource, 0) > 0]
    if not holders:
        return f"none of the {len(nodes)} nodes has {need.resource}; is its device plugin running?"
    holders.sort(key=lambda node: (distance(in_the_way(need, node)), -free(node, need.resource or ""), node.name))
    without = len(nodes) - len(holders)
    text = phrases.join_truncated([f"{node.name} {obstacle(need, node)}" for node in holders])
    return text + (f"; {without} other{'s have' if without > 1 else ' has'} none" if without else "")


def free(node: NodeCapacity, resource: str) -> int:
    """Devices of ``node`` that no pod asks for."""
    return max(0, node.allocatable.get(resource, 0) - node.requested.get(resource, 0))


def product(node: NodeCapacity) -> str:
    """The product of a node's GPUs; empty where no label names it."""
    return next((node.labels[label] for label in _PRODUCT_LABELS if node.labels.get(label)), "")


def obstacle(need: Need, node: NodeCapacity) -> str:
    """The first thing that keeps the pod off ``node``, or how much is free there."""
    found = (check(need, node) for check in _OBSTACLES)
    resource = need.resource or ""
    has = f"has {free(node, resource)} of {node.allocatable.get(resource, 0)} free"
    return next((text for text in found if text), has)


def in_the_way(need: Need, node: NodeCapacity) -> list[str]:
    """All that keeps the pod off ``node``, as far as it can be seen; empty where nothing does."""
    found = [kind for kind, check in zip(_OBSTACLE_KINDS, _OBSTACLES, strict=True) if check(need, node)]
    if TAINT in found and all(taint["key"].startswith(_OF_KUBERNETES) for taint in untolerated(need, node)):
        found.remove(TAINT)
        found += [] if {DOWN, CORDON} & set(found) else [DOWN]
    return found + ([DEVICES] if free(node, need.resource or "") < need.count else [])


def distance(lacking: Sequence[str]) -> tuple[int, int]:
    """How far a node is from taking the pod, by what is in the way there."""
    return len(lacking), _NEAREST.index(lacking[-1]) if lacking else 0


def untolerated(need: Need, node: NodeCapacity) -> list[Mapping[str, Any]]:
    """Taints of ``node`` that keep the pod off."""
    hard = (taint for taint in node.taints if taint.get("effect") != "PreferNoSchedule")
    return [taint for taint in hard if not any(_tolerates(t, taint) for t in need.tolerations)]


def takes(need: Need, node: NodeCapacity) -> bool:
    """Whether ``node`` has the devices free and nothing else is in the way that can be seen."""
    blocked = any(check(need, node) for check in _OBSTACLES)
    return not blocked and free(node, need.resource or "") >= need.count


def room(need: Need, node: NodeCapacity) -> int:
    """How many of such pods ``node`` has room for."""
    return free(node, need.resource or "") // need.count if need.count and takes(need, node) else 0


def _down(_: Need, node: NodeCapacity) -> str:
    return "" if node.ready else "is not ready"


def _cordoned(_: Need, node: NodeCapacity) -> str:
    return "is cordoned" if node.unschedulable else ""


def _other_product(need: Need, node: NodeCapacity) -> str:
    for label, products in need.products.items():
        if node.labels.get(label) not in products:
            return f"is {node.labels.get(label, 'a node without a product label')}, not {phrases.join_or(products)}"
    return ""


def _other_labels(need: Need, node: NodeCapacity) -> str:
    lacking = [f"{key}={value}" for key, value in need.node_selector.items() if node.labels.get(key) != value]
    return f"lacks the label {lacking[0]}" if lacking else ""


def _tainted(need: Need, node: NodeCapacity) -> str:
    for taint in untolerated(need, node):
        value = f"={taint['value']}" if taint.get("value") else ""
        return f"has the taint {taint['key']}{value}:{taint.get('effect')}"
    return ""


_OBSTACLES: tuple[Callable[[Need, NodeCapacity], str], ...] = (
    _down,
    _cordoned,
    _other_product,
    _other_labels,
    _tainted,
)
_OBSTACLE_KINDS = (DOWN, CORDON, PRODUCT, LABELS, TAINT)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def _products(spec: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    required = (
        (spec.get("affinity") or {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    )
    return {
        expression["key"]: expression.get("values", ())
        for term in required.get("nodeSelectorTerms", ())
        for expression in term.get("matchExpressions", ())
        if expression["key"] in _PRODUCT_LABELS and expression.get("operator") == "In"
    }
