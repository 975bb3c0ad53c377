"""Access modes of the volume claims that a service names: from the cluster, otherwise from the manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_contract.source import BadSource, Claim, parse_spec_source
from llmservice_operator.resources.kinds import CLAIM

Object = Mapping[str, Any]
Key = tuple[str, str]
"""Namespace and name."""


def of_manifests(found: Sequence[Object], given: str | None, default: str) -> dict[Key, frozenset[str]]:
    """The access modes of each PersistentVolumeClaim among the objects. ``given``: the value of --namespace;
    ``default``: the namespace without it."""
    claims = (each for each in found if each.get("kind") == CLAIM.kind and each.get("apiVersion") == "v1")
    modes: dict[Key, frozenset[str]] = {}
    for claim in claims:
        meta = claim.get("metadata")
        if isinstance(meta, Mapping) and isinstance(meta.get("name"), str):
            modes[str(meta.get("namespace") or given or default), meta["name"]] = access_modes(claim)
    return modes


def access_modes(claim: Object) -> frozenset[str]:
    """The access modes of a claim; empty if it states none."""
    spec = claim.get("spec")
    modes = spec.get("accessModes") if isinstance(spec, Mapping) else None
    return frozenset(map(str, modes)) if isinstance(modes, list) else frozenset()


def named(spec: Object) -> str | None:
    """The claim with the model of a spec; None if it is elsewhere or the source is not valid."""
    model = spec.get("model")
    source = model.get("source") if isinstance(model, Mapping) else None
    try:
        parsed = parse_spec_source(source) if isinstance(source, str) else None
    except BadSource:
        return None
    return parsed.name if isinstance(parsed, Claim) else None


def unknown(name: str, why: str) -> str:
    """A note that the access modes of the claim are not known; ``why`` says why."""
    return f"PersistentVolumeClaim {name} {why}: assuming that several nodes can mount it"
