"""The platform's lists of nodes, priorities, runtimes and schedulers that services may request.

The chart also creates a ValidatingAdmissionPolicy from these lists. The check here is for objects that are older than
the lists, and for clusters without the policy.
"""

import dataclasses
from collections.abc import Sequence

from llmservice_operator.api.placement import Scheduling, Toleration, TolerationOperator

RESERVED_TAINTS = ("node-role.kubernetes.io/", "node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Taints of control-plane nodes and of nodes that are not ready."""
RESERVED_NODE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
RESERVED_PRIORITIES = ("system-",)
"""Prefixes of PriorityClasses that the cluster itself needs."""

ANY = "*"


@dataclasses.dataclass(frozen=True)
class AllowedPlacement:
    """Lists of names. An entry that ends with ``*`` allows every name with that prefix except reserved ones, which need
    their own entry. The defaults are those of the chart."""

    tolerations: tuple[str, ...] = ("nvidia.com/gpu", "amd.com/gpu")
    """Keys of taints, or KEY=VALUE for only that value. A toleration without a key is never allowed."""
    node_selector_keys: tuple[str, ...] = (ANY,)
    priority_class_names: tuple[str, ...] = ()
    runtime_class_names: tuple[str, ...] = ("nvidia",)
    scheduler_names: tuple[str, ...] = ("default-scheduler",)


@dataclasses.dataclass(frozen=True)
class Denied:
    """A field of ``spec.scheduling`` that the platform does not allow."""

    field: str
    """Path, such as ``tolerations[0]``."""
    what: str
    """What it requests."""
    value: str
    """The chart value below ``allowed`` that would allow it."""
    allowed: Sequence[str]


def denied(scheduling: Scheduling, allowed: AllowedPlacement) -> Denied | None:
    """The first field that is not allowed; None if all are."""
    for index, toleration in enumerate(scheduling.tolerations or ()):
        if not _tolerable(toleration, allowed.tolerations):
            what = f"the taint {toleration.key}" + (f"={toleration.value}" if toleration.value else "")
            what = what if toleration.key else "every taint (it has no key)"
            return Denied(f"tolerations[{index}]", what, "tolerations", allowed.tolerations)
    for key in scheduling.node_selector or ():
        if not _listed(key, allowed.node_selector_keys, RESERVED_NODE_LABELS):
            return Denied("nodeSelector", key, "nodeSelectorKeys", allowed.node_selector_keys)
    names = {
        "priorityClassName": (scheduling.priority_class_name, allowed.priority_class_names, RESERVED_PRIORITIES),
        "runtimeClassName": (scheduling.runtime_class_name, allowed.runtime_class_names, ()),
        "schedulerName": (scheduling.scheduler_name, allowed.scheduler_names, ()),
    }
    for field, (name, entries, reserved) in names.items():
        if name is not None and not _listed(name, entries, reserved):
            return Denied(field, name, f"{field}s", entries)
    return None


def _tolerable(toleration: Toleration, entries: Sequence[str]) -> bool:
    if toleration.key is None:
        return False
    exact = toleration.operator is TolerationOperator.EQUAL and f"{toleration.key}={toleration.value or ''}" in entries
    return exact or _listed(toleration.key, entries, RESERVED_TAINTS)


def _listed(name: str, entries: Sequence[str], reserved: Sequence[str]) -> bool:
    if name in entries:
        return True
    prefixes = tuple(entry.removesuffix(ANY) for entry in entries if entry.endswith(ANY))
    return name.startswith(prefixes) and not name.startswith(tuple(reserved))
