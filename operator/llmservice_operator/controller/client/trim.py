"""Reduces objects to what decisions need, before they are kept in memory.

Anyone who may write in a namespace can create objects with the operator's labels, as large and as many as the API
server accepts. So only the annotations that the operator reads are kept on services and pods, and an object that is too
large is reduced to a ``stub``: its identity and owner.

Of a service or a model of the catalogue only what the CRD bounds is kept. ``managedFields`` are dropped, except for
the owners of the number of replicas of an LLMService, a StatefulSet and a HorizontalPodAutoscaler, and for one mark on
an LLMService: whether the operator still owns ``spec.replicas``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from llmservice_operator.planner.model import replicas_owner
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import CATALOGUE

REPLICAS_MANAGER = "llmservice-operator-replicas"
"""Field manager that sets an absent ``spec.replicas``; it gives up the field immediately."""

LARGEST = 512 * 1024
"""Maximum size of an object that is kept whole, in bytes."""

LONGEST_MESSAGE = 16 * 1024
"""Maximum length of a text in a status, in characters. A termination message has at most 4096."""
_DEEPEST = 16
"""Depth of a status down to which texts are cut."""

MOST_OWNERS = 4
"""Owners of a number of replicas that are kept of an object."""
_OWNED_KINDS = ("LLMService", "StatefulSet", "HorizontalPodAutoscaler")

_CLAIMED = (names.DEVICE_CLASS_ANNOTATION, names.DEVICE_COUNT_ANNOTATION)
_READ_ANNOTATIONS = {
    "LLMService": (names.REFRESH_ANNOTATION, names.UPGRADE_ANNOTATION),
    "Pod": (names.REFRESH_ANNOTATION, names.ACCESS_ANNOTATION, names.ADMITTED_ANNOTATION, *_CLAIMED),
}
"""Annotations to keep on these kinds."""
_BOUNDED = ("LLMService", *(kind.kind for kind in CATALOGUE))
"""Kinds whose spec and status the CRD bounds. Of their metadata only ``_SERVICE_META`` is kept."""
_LONGEST_ANNOTATION = 128
"""Maximum length of these annotations in bytes: each is a time, a hash or a number."""
_LONGEST = {names.DEVICE_CLASS_ANNOTATION: 253}
"""The same for those that are names."""
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
"""Labels, owners and finalizers of a service are not needed, and may be as large as an object."""
_REDUCED_STATUS = ("observedGeneration", "conditions", "findings")
_LARGEST_REDUCED_STATUS = 8 * 1024
_STUB_LABELS = (names.NAME_LABEL, names.INSTANCE_LABEL, names.COMPONENT_LABEL, names.MANAGED_BY_LABEL)
_STUB_OWNERS = 2
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid")
"""Fields of an owner reference. The API server only requires that they are not empty."""
_OWNER_FLAGS = ("controller", "blockOwnerDeletion")
_LONGEST_NAME = 253
"""Maximum length of a name in Kubernetes."""

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
    "resourceClaims",
)


def trim(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``obj`` with the needed parts; nested values are shared."""
    meta = dict(obj["metadata"])
    fields = meta.pop("managedFields", ())
    if obj["kind"] in _BOUNDED:
        meta = {key: meta[key] for key in _SERVICE_META if key in meta}
    if obj["kind"] in _OWNED_KINDS and (kept_fields := _field_owners(obj["kind"], fields or ())):
        meta["managedFields"] = kept_fields
    if obj["kind"] in (*_READ_ANNOTATIONS, *_BOUNDED) and "annotations" in meta:
        there = meta["annotations"] or {}
        wanted = (key for key in _READ_ANNOTATIONS.get(obj["kind"], ()) if key in there)
        meta["annotations"] = {
            key: there[key] for key in wanted if _fits(there[key], _LONGEST.get(key, _LONGEST_ANNOTATION))
        }
    if meta.get("ownerReferences"):
        meta["ownerReferences"] = _owners(meta["ownerReferences"])
    kept = {**obj, "metadata": meta}
    if "status" in obj and obj["kind"] not in _BOUNDED:
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
    """``obj`` trimmed, or its ``stub`` if it is too large. The size of a trimmed service is bounded by its CRD."""
    kept = trim(obj)
    return kept if obj["kind"] == "LLMService" or size(kept) <= LARGEST else stub(obj)


def stub(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Identity and owners of an object, and whether the operator created it, without its content: a few KiB for any
    ``obj``."""
    meta = obj["metadata"]
    keys = ("namespace", "name", "uid", "resourceVersion", "deletionTimestamp")
    kept: dict[str, Any] = {key: meta[key] for key in keys if _is_name(meta.get(key))}
    labels = meta.get("labels") or {}
    kept["labels"] = {key: labels[key] for key in _STUB_LABELS if _is_name(labels.get(key))}
    mark = (meta.get("annotations") or {}).get(names.APPLIED_ANNOTATION)
    if _is_name(mark):
        kept["annotations"] = {names.APPLIED_ANNOTATION: mark}
    owners = sorted(_owners(meta.get("ownerReferences") or ()), key=_owner_order)
    kept["ownerReferences"] = owners[:_STUB_OWNERS]
    return {"apiVersion": obj.get("apiVersion", ""), "kind": obj["kind"], "metadata": kept, "spec": {}, "status": {}}


def _field_owners(kind: str, entries: Iterable[Any]) -> list[dict[str, Any]]:
    """Of the entries of ``managedFields`` the mark, and those that own a number of replicas."""
    marks, owners = [], []
    for entry in entries:
        if entry.get("manager") == REPLICAS_MANAGER and kind == "LLMService":
            marks = [{"manager": REPLICAS_MANAGER}]
        elif fields := replicas_owner.owned(entry):
            texts = {
                key: entry[key] for key in ("manager", "operation", "subresource", "time") if _is_name(entry.get(key))
            }
            owners.append({**texts, "fieldsV1": {"f:spec": {field: {} for field in fields}}})
    return [*marks, *owners[:MOST_OWNERS]]


def _owners(references: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The references without those with an invalid or very long text. An invalid controller reference is kept with "?",
    so that the object still counts as controlled."""
    found = []
    for reference in references:
        texts = {key: text if _is_name(text := reference[key]) else "?" for key in _OWNER_FIELDS if key in reference}
        flags = {key: reference[key] for key in _OWNER_FLAGS if isinstance(reference.get(key), bool)}
        if "?" not in texts.values() or reference.get("controller"):
            found.append({**texts, **flags})
    return found


def _owner_order(reference: Mapping[str, Any]) -> tuple[bool, bool]:
    """Sort key: controllers first, then services."""
    return not reference.get("controller"), reference.get("kind") != "LLMService"


def _fits(text: str, most: int) -> bool:
    return len(text) <= most and len(text.encode("utf-8", "surrogatepass")) <= most


def _is_name(value: Any) -> bool:
    """Whether it is a valid text for a name, version or time."""
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isascii() and value.isprintable()


def reduced(service: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a service that is not managed, and the part of its status that says why."""
    meta, status = service["metadata"], service.get("status") or {}
    kept = {key: status[key] for key in _REDUCED_STATUS if key in status}
    return {
        "apiVersion": service.get("apiVersion", ""),
        "kind": service["kind"],
        "metadata": {key: meta[key] for key in _SERVICE_META if key in meta and key != "annotations"},
        "spec": {},
        "status": kept if size(kept) <= _LARGEST_REDUCED_STATUS else {},
    }


def size(obj: Mapping[str, Any]) -> int:
    """Size of the object as JSON in bytes: about a tenth of its size in memory."""
    try:
        return len(msgspec.json.encode(obj))
    except (RecursionError, TypeError, ValueError):
        return LARGEST + 1


def _clipped(value: Any, depth: int = 0) -> Any:
    """``value`` with long texts cut to their ends; the same object if there are none."""
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
