"""What of each object is kept in memory: all that a decision reads, and no more.

Whoever may write in a namespace can make objects with the operator's labels there, as large and as many as the API
server takes. So of annotations on services and pods only those that the operator reads are kept, and of what is too
much a ``stub``: what tells whose it is.

Of a service nothing else is kept but what the CRD bounds. Who owns which field is dropped from everything, but for one
mark on an LLMService: whether the operator still owns ``spec.replicas``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from llmservice_operator.resources import names

REPLICAS_MANAGER = "llmservice-operator-replicas"
"""Field manager by which an absent ``spec.replicas`` is set; it gives the field up at once."""

LARGEST = 512 * 1024
"""Bytes of the largest object that is kept whole."""

LONGEST_MESSAGE = 16 * 1024
"""Characters of a text in a status. A container's termination message has 4096 at most."""
_DEEPEST = 16
"""Levels of a status in which texts are looked for."""

_READ_ANNOTATIONS = {
    "LLMService": (names.REFRESH_ANNOTATION, names.UPGRADE_ANNOTATION),
    "Pod": (names.REFRESH_ANNOTATION, names.ACCESS_ANNOTATION, names.ADMITTED_ANNOTATION),
}
"""Of these kinds no other annotations are kept."""
_LONGEST_ANNOTATION = 128
"""Bytes of the longest that is kept of these: each is a time or a hash."""
_SERVICE_META = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "annotations",
)
"""Nothing reads a service's labels, owners and finalizers, and each may be as large as an object."""
_TOLD_OF_REDUCED = ("observedGeneration", "conditions", "findings")
_LARGEST_TOLD = 8 * 1024
_STUB_LABELS = (names.NAME_LABEL, names.INSTANCE_LABEL, names.COMPONENT_LABEL, names.MANAGED_BY_LABEL)
_STUB_OWNERS = 2
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid")
"""Texts of an owner reference. The API server only asks that they aren't empty."""
_OWNER_FLAGS = ("controller", "blockOwnerDeletion")
_LONGEST_NAME = 253
"""Characters of the longest name in Kubernetes."""

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
        meta = {key: meta[key] for key in _SERVICE_META if key in meta}
        if any(entry.get("manager") == REPLICAS_MANAGER for entry in fields or ()):
            meta["managedFields"] = [{"manager": REPLICAS_MANAGER}]
    if obj["kind"] in _READ_ANNOTATIONS and "annotations" in meta:
        there = meta["annotations"] or {}
        wanted = (key for key in _READ_ANNOTATIONS[obj["kind"]] if key in there)
        meta["annotations"] = {key: there[key] for key in wanted if _fits(there[key], _LONGEST_ANNOTATION)}
    if meta.get("ownerReferences"):
        meta["ownerReferences"] = _owners(meta["ownerReferences"])
    kept = {**obj, "metadata": meta}
    if "status" in obj and obj["kind"] != "LLMService":
        kept["status"] = _clipped(obj["status"])
    if obj["kind"] == "HorizontalPodAutoscaler" and "status" in obj:
        kept["status"] = {"conditions": (kept["status"] or {}).get("conditions") or []}
    if obj["kind"] == "Pod":
        spec = obj.get("spec", {})
        kept["spec"] = {key: spec[key] for key in _POD_SPEC if key in spec}
        for group in ("containers", "initContainers"):
            if group in spec:
                kept["spec"][group] = [
                    {key: container[key] for key in _POD_CONTAINER if key in container} for container in spec[group]
                ]
    return kept


def bounded(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of ``obj``: trimmed, or the ``stub`` of one that is too large. A service's CRD bounds what is kept
    of it."""
    kept = trim(obj)
    return kept if obj["kind"] == "LLMService" or size(kept) <= LARGEST else stub(obj)


def stub(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What tells which object it is, whose, and whether the operator made it, and nothing of what it holds: a few KiB,
    whatever ``obj`` has."""
    meta = obj["metadata"]
    keys = ("namespace", "name", "uid", "resourceVersion", "deletionTimestamp")
    kept: dict[str, Any] = {key: meta[key] for key in keys if _is_name(meta.get(key))}
    labels = meta.get("labels") or {}
    kept["labels"] = {key: labels[key] for key in _STUB_LABELS if _is_name(labels.get(key))}
    mark = (meta.get("annotations") or {}).get(names.APPLIED_ANNOTATION)
    if _is_name(mark):
        kept["annotations"] = {names.APPLIED_ANNOTATION: mark}
    owners = sorted(_owners(meta.get("ownerReferences") or ()), key=_standing)
    kept["ownerReferences"] = owners[:_STUB_OWNERS]
    return {"apiVersion": obj.get("apiVersion", ""), "kind": obj["kind"], "metadata": kept, "spec": {}, "status": {}}


def _owners(references: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The references without those with a text that is no name, such as one of 1 MiB. Of a controller the other texts
    are kept: its object has a controller, and is free for no other."""
    found = []
    for reference in references:
        texts = {key: text if _is_name(text := reference[key]) else "?" for key in _OWNER_FIELDS if key in reference}
        flags = {key: reference[key] for key in _OWNER_FLAGS if isinstance(reference.get(key), bool)}
        if "?" not in texts.values() or reference.get("controller"):
            found.append({**texts, **flags})
    return found


def _standing(reference: Mapping[str, Any]) -> tuple[bool, bool]:
    """Controllers first, then services."""
    return not reference.get("controller"), reference.get("kind") != "LLMService"


def _fits(text: str, most: int) -> bool:
    return len(text) <= most and len(text.encode("utf-8", "surrogatepass")) <= most


def _is_name(value: Any) -> bool:
    """Whether it is a text as names, versions and times are."""
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isascii() and value.isprintable()


def reduced(service: Mapping[str, Any]) -> dict[str, Any]:
    """Of a service that is not served: which it is, and what its status says of that."""
    meta, status = service["metadata"], service.get("status") or {}
    kept = {key: status[key] for key in _TOLD_OF_REDUCED if key in status}
    return {
        "apiVersion": service.get("apiVersion", ""),
        "kind": service["kind"],
        "metadata": {key: meta[key] for key in _SERVICE_META if key in meta and key != "annotations"},
        "spec": {},
        "status": kept if size(kept) <= _LARGEST_TOLD else {},
    }


def size(obj: Mapping[str, Any]) -> int:
    """Bytes of the object as JSON: about a tenth of what it takes in memory."""
    try:
        return len(msgspec.json.encode(obj))
    except (RecursionError, TypeError, ValueError):
        return LARGEST + 1


def _clipped(value: Any, depth: int = 0) -> Any:
    """``value`` with the ends of its long texts; the same object where there are none."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_MESSAGE else "…" + value[-LONGEST_MESSAGE:]
    if depth == _DEEPEST:
        return value
    if isinstance(value, dict):
        inner = {key: _clipped(each, depth + 1) for key, each in value.items()}
        return inner if any(inner[key] is not each for key, each in value.items()) else value
    if isinstance(value, list):
        items = [_clipped(each, depth + 1) for each in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
