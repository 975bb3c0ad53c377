"""Why nodes can't run a pod: the first obstacle on each node, with the numbers of devices."""

import dataclasses
import re
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
_COUNT = re.compile(r"[0-9]{1,4}")
_PRODUCT_LABELS = (names.NVIDIA_PRODUCT_LABEL, names.AMD_PRODUCT_LABEL)


@dataclasses.dataclass(frozen=True)
class Need:
    """What one pod needs from a node."""

    resource: str | None
    """The extended resource of its accelerators; None if it requests none."""
    count: int
    products: Mapping[str, Sequence[str]]
    """Accepted GPU products, by node label."""
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]
    others: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Further devices, by extended resource."""

    @property
    def devices(self) -> str:
        """Its devices for messages, such as ``2 nvidia.com/gpu``."""
        return f"{self.count} {named(self.resource or '')}"

    @classmethod
    def of(cls, pod: Object) -> "Need":
        """The need of a pod or a pod template."""
        return _need(pod)


@pods.read_once
def _need(pod: Object) -> Need:
    spec = pod.get("spec", {})
    limits = pods.resources(pod).get("limits") or {}
    extended = sorted((name for name in limits if "/" in name), key=_accelerators_first)
    resource = extended[0] if extended else None
    claimed = _claimed(pod)
    return Need(
        resource=claimed[0] if claimed else resource,
        count=claimed[1] if claimed else int(limits[resource]) if resource else 0,
        products=_products(spec),
        node_selector=spec.get("nodeSelector") or {},
        tolerations=spec.get("tolerations") or (),
        others={name: int(limits[name]) for name in extended[1:]},
    )


def _accelerators_first(name: str) -> tuple[int, str]:
    """Sort key: of the resources of a pod that has network devices too, its accelerators come first."""
    known = name in (names.NVIDIA_GPU, names.AMD_GPU)
    return 0 if known else 1 if "gpu" in name or "/mig-" in name else 2, name


def _claimed(pod: Object) -> tuple[str, int] | None:
    """The DeviceClass as an extended resource, and the number of devices that the pod claims of it."""
    annotations = pods.annotations(pod)
    device_class = annotations.get(names.DEVICE_CLASS_ANNOTATION)
    count = annotations.get(names.DEVICE_COUNT_ANNOTATION, "")
    claims = pod.get("spec", {}).get("resourceClaims")
    if not device_class or not claims or not _COUNT.fullmatch(count):
        return None
    return names.DEVICE_CLASS_RESOURCE + device_class, int(count)


def of_class(resource: str) -> str:
    """The DeviceClass of an extended resource; empty if it stands for none."""
    name = resource.removeprefix(names.DEVICE_CLASS_RESOURCE)
    return name if name != resource else ""


def named(resource: str) -> str:
    """The name of an extended resource for messages."""
    name = of_class(resource)
    return f"devices of DeviceClass {name}" if name else resource


def explain(need: Need, nodes: Sequence[NodeCapacity]) -> str:
    """The obstacles, as part of a sentence; empty if the pod needs no devices.

    At most five nodes are named: those with the fewest obstacles first, and among them those with most free devices.
    """
    if need.resource is None:
        return ""
    holders = [node for node in nodes if node.allocatable.get(need.resource, 0) > 0]
    if not holders:
        provider = "driver" if of_class(need.resource) else "device plugin"
        return f"none of the {len(nodes)} nodes has {named(need.resource)}; is its {provider} running?"
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
    lacking = lacks(need, node)
    if lacking and free(node, resource) >= need.count:
        has = f"has {free(node, lacking)} of {node.allocatable.get(lacking, 0)} {lacking} free"
    return next((text for text in found if text), has)


def lacks(need: Need, node: NodeCapacity) -> str:
    """The first further device of which ``node`` has too few; empty if it has enough of all."""
    return next((name for name, count in need.others.items() if free(node, name) < count), "")


def in_the_way(need: Need, node: NodeCapacity) -> list[str]:
    """All known obstacles on ``node``."""
    found = [kind for kind, check in zip(_OBSTACLE_KINDS, _OBSTACLES, strict=True) if check(need, node)]
    if TAINT in found and all(taint["key"].startswith(_OF_KUBERNETES) for taint in untolerated(need, node)):
        found.remove(TAINT)
        found += [] if {DOWN, CORDON} & set(found) else [DOWN]
    short = free(node, need.resource or "") < need.count or lacks(need, node)
    return found + ([DEVICES] if short else [])


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
    return not blocked and free(node, need.resource or "") >= need.count and not lacks(need, node)


def room(need: Need, node: NodeCapacity) -> int:
    """Number of such pods that ``node`` has room for."""
    if not need.count or not takes(need, node):
        return 0
    others = (free(node, name) // count for name, count in need.others.items())
    return min([free(node, need.resource or "") // need.count, *others])


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
