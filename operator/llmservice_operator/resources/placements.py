"""Which nodes, priorities, runtimes and schedulers services may ask for: the platform's lists.

The chart makes a ValidatingAdmissionPolicy of the same lists. Both are there because an object may be older than the
list, and a cluster may have the operator without the policy.
"""

import dataclasses
from collections.abc import Sequence

from llmservice_operator.api.placement import Scheduling, Toleration, TolerationOperator

RESERVED_TAINTS = ("node-role.kubernetes.io/", "node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Taints by which Kubernetes keeps pods from control-plane nodes and from nodes that are not ready."""
RESERVED_NODE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
RESERVED_PRIORITIES = ("system-",)
"""PriorityClasses of what the cluster itself needs."""

ANY = "*"


@dataclasses.dataclass(frozen=True)
class AllowedPlacement:
    """Lists of names. An entry that ends in ``*`` allows every name with that beginning, apart from the reserved ones,
    which have to be listed by themselves. The defaults are those of the chart."""

    tolerations: tuple[str, ...] = ("nvidia.com/gpu", "amd.com/gpu")
    """Keys of taints, or KEY=VALUE for that value alone. A toleration without a key is never allowed."""
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
    """What it asks for."""
    value: str
    """The chart value that would allow it, below ``allowed``."""
    allowed: Sequence[str]


def denied(scheduling: Scheduling, allowed: AllowedPlacement) -> Denied | None:
    """The first field that is not allowed; None where all are."""
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
