"""What of each object is kept in memory: all that a decision reads, and no more.

Who owns which field is dropped from everything, but for one mark on an LLMService: whether the operator still owns
``spec.replicas``.
"""

from collections.abc import Mapping
from typing import Any

REPLICAS_MANAGER = "llmservice-operator-replicas"
"""Field manager by which an absent ``spec.replicas`` is set; it gives the field up at once."""

_POD_CONTAINER = ("name", "image", "resources", "envFrom", "ports")
_POD_SPEC = (
    "nodeName",
    "nodeSelector",
    "affinity",
    "tolerations",
    "schedulerName",
    "volumes",
    "priorityClassName",
    "schedulingGates",
)


def trim(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``obj`` with what is worth keeping; nested values are shared."""
    meta = dict(obj["metadata"])
    fields = meta.pop("managedFields", ())
    if obj["kind"] == "LLMService":
        own = [{"manager": entry["manager"]} for entry in fields if entry.get("manager") == REPLICAS_MANAGER]
        if own:
            meta["managedFields"] = own
        annotations = {
            key: value
            for key, value in (meta.get("annotations") or {}).items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"
        }
        meta["annotations"] = annotations
    kept = {**obj, "metadata": meta}
    if obj["kind"] == "HorizontalPodAutoscaler" and "status" in obj:
        kept["status"] = {"conditions": obj["status"].get("conditions") or []}
    if obj["kind"] == "Pod":
        spec = obj.get("spec", {})
        kept["spec"] = {key: spec[key] for key in _POD_SPEC if key in spec}
        for group in ("containers", "initContainers"):
            if group in spec:
                kept["spec"][group] = [
                    {key: container[key] for key in _POD_CONTAINER if key in container} for container in spec[group]
                ]
    return kept
