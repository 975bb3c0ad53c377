"""Why nodes can't run a pod: the first obstacle on each node, with the numbers of devices."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import NodeCapacity, Object
from llmservice_operator.planner.report import phrases
from llmservice_operator.resources import names

DOWN, CORDON, PRODUCT, LABELS, TAINT, DEVICES = "down", "cordon", "product", "labels", "taint", "devices"
"""Kinds of obstacles on a node."""
_NEAREST = (DEVICES, DOWN, CORDON, TAINT, LABELS, PRODUCT)
"""Order of nodes that lack only one thing: freeing a device is a smaller change than making another node suitable."""
_OF_KUBERNETES = "node.kubernetes.io/"
"""Prefix of taints with which Kubernetes marks nodes as not ready, cordoned or short of a resource."""
_PRODUCT_LABELS = (names.NVIDIA_PRODUCT_LABEL, names.AMD_PRODUCT_LABEL)


@dataclasses.dataclass(frozen=True)
class Need:
    """What one pod needs from a node."""

    resource: str | None
    """Its extended resource; None if it requests none."""
    count: int
    products: Mapping[str, Sequence[str]]
    """Accepted GPU products, by node label."""
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, pod: Object) -> "Need":
        """The need of a pod or a pod template."""
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
    """The obstacles, as part of a sentence; empty if the pod needs no devices.

    At most five nodes are named: those with the fewest obstacles first, and among them those with most free devices.
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
    """Number of devices of ``node`` that no pod requests."""
    return max(0, node.allocatable.get(resource, 0) - node.requested.get(resource, 0))


def product(node: NodeCapacity) -> str:
    """The product of a node's GPUs; empty if no label names it."""
    return next((node.labels[label] for label in _PRODUCT_LABELS if node.labels.get(label)), "")


def obstacle(need: Need, node: NodeCapacity) -> str:
    """The first obstacle on ``node``, or the number of free devices."""
    found = (check(need, node) for check in _OBSTACLES)
    resource = need.resource or ""
    has = f"has {free(node, resource)} of {node.allocatable.get(resource, 0)} free"
    return next((text for text in found if text), has)


def in_the_way(need: Need, node: NodeCapacity) -> list[str]:
    """All known obstacles on ``node``."""
    found = [kind for kind, check in zip(_OBSTACLE_KINDS, _OBSTACLES, strict=True) if check(need, node)]
    if TAINT in found and all(taint["key"].startswith(_OF_KUBERNETES) for taint in untolerated(need, node)):
        found.remove(TAINT)
        found += [] if {DOWN, CORDON} & set(found) else [DOWN]
    return found + ([DEVICES] if free(node, need.resource or "") < need.count else [])


def distance(lacking: Sequence[str]) -> tuple[int, int]:
    """Sort key of a node by its obstacles: the smallest change first."""
    return len(lacking), _NEAREST.index(lacking[-1]) if lacking else 0


def untolerated(need: Need, node: NodeCapacity) -> list[Mapping[str, Any]]:
    """Taints of ``node`` that the pod does not tolerate."""
    hard = (taint for taint in node.taints if taint.get("effect") != "PreferNoSchedule")
    return [taint for taint in hard if not any(_tolerates(t, taint) for t in need.tolerations)]


def takes(need: Need, node: NodeCapacity) -> bool:
    """Whether ``node`` has enough free devices and no known obstacle."""
    blocked = any(check(need, node) for check in _OBSTACLES)
    return not blocked and free(node, need.resource or "") >= need.count


def room(need: Need, node: NodeCapacity) -> int:
    """Number of such pods that ``node`` has room for."""
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
