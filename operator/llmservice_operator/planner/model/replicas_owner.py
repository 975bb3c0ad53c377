"""Owners of the number of replicas: field managers in an object's ``metadata.managedFields``.

An owner wrote the current value last. The autoscaler and ``kubectl scale`` write through the scale subresource; any
other writer has the count in its manifest.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from llmservice_operator.planner.model.observed import Object

OPERATOR = "llmservice-operator"
"""The operator's own field manager, and the beginning of those that it uses for single writes."""
FIELDS = ("f:replicas", "f:minReplicas", "f:maxReplicas")
LONGEST_MANAGER = 128
"""Maximum length of a field manager in the API server, in characters."""


@dataclasses.dataclass(frozen=True)
class FieldOwner:
    """One owner of a replica count."""

    manager: str
    scale: bool
    """Whether it wrote through the scale subresource."""
    time: str
    """When it last wrote the object, as a Kubernetes timestamp; empty if not known."""


def owned(entry: Any) -> tuple[str, ...]:
    """Those of FIELDS that an entry of ``managedFields`` owns in the spec."""
    fields = entry.get("fieldsV1") if isinstance(entry, Mapping) else None
    spec = fields.get("f:spec") if isinstance(fields, Mapping) else None
    return tuple(name for name in FIELDS if name in spec) if isinstance(spec, Mapping) else ()


def owners(obj: Object) -> tuple[FieldOwner, ...]:
    """The owners of the replica counts in the object's spec, without the operator."""
    found = []
    for entry in obj["metadata"].get("managedFields") or ():
        manager = entry.get("manager") if isinstance(entry, Mapping) else None
        if isinstance(manager, str) and not f"{manager}-".startswith(f"{OPERATOR}-") and owned(entry):
            scale = entry.get("subresource") == "scale"
            found.append(FieldOwner(printable(manager), scale, str(entry.get("time") or "")))
    return tuple(found)


def manifest_owner(service: Object) -> FieldOwner | None:
    """The owner of an LLMService's ``spec.replicas`` in a manifest; None if the scale subresource set the current
    value."""
    found = owners(service)
    return None if any(each.scale for each in found) else next(iter(found), None)


def followed(stated: int | None, running: int | None, minimum: int, maximum: int, zero_counts: bool) -> int | None:
    """The desired count of a scaled service if ``stated`` is from a manifest: the running count, within the bounds of
    the autoscaler. The manifest's count applies before anything runs, if it wakes a service at zero, and if it is zero,
    which disables an autoscaler, unless ``zero_counts`` is False."""
    if stated is None or not running or (stated == 0 and zero_counts):
        return stated
    return min(max(running, minimum), maximum)


def printable(manager: str) -> str:
    """The name for messages."""
    return "".join(c if c.isprintable() else " " for c in manager[:LONGEST_MANAGER])
