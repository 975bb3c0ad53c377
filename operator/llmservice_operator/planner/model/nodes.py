"""A node's capacity of extended resources and their use by pods, from JSON of the API server."""

import re
from collections.abc import Mapping
from typing import Any

from llmservice_operator.planner.model.observed import NodeCapacity

_WHOLE = re.compile(r"[0-9]{1,18}")


def capacity_of(node: Mapping[str, Any], taken: Mapping[str, int]) -> NodeCapacity:
    """The capacity of one node. ``taken`` is the sum of its pods' requests."""
    spec, status = node.get("spec", {}), node.get("status", {})
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions") or ()
    )
    return NodeCapacity(
        name=node["metadata"]["name"],
        labels=node["metadata"].get("labels") or {},
        taints=tuple(spec.get("taints") or ()),
        ready=ready,
        unschedulable=bool(spec.get("unschedulable")),
        allocatable=_extended(status.get("allocatable") or {}),
        requested=dict(taken),
    )


def pod_requests(pod: Mapping[str, Any]) -> dict[str, int]:
    """Extended resources that a pod requests: the sum of its containers, or the maximum of its init containers."""
    spec = pod.get("spec", {})
    total: dict[str, int] = {}
    for container in spec.get("containers") or ():
        add(total, _asked(container))
    for container in spec.get("initContainers") or ():
        for name, count in _asked(container).items():
            if container.get("restartPolicy") == "Always":
                total[name] = total.get(name, 0) + count
            else:
                total[name] = max(total.get(name, 0), count)
    return total


def _asked(container: Mapping[str, Any]) -> dict[str, int]:
    resources = container.get("resources") or {}
    return _extended({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _extended(resources: Mapping[str, Any]) -> dict[str, int]:
    """Extended resources: their names have a domain, their quantities are integers."""
    return {
        name: int(count)
        for name, count in resources.items()
        if "/" in name and not name.startswith("kubernetes.io/") and _WHOLE.fullmatch(str(count))
    }


def add(total: dict[str, int], more: Mapping[str, int]) -> None:
    """Adds ``more`` to ``total``."""
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
