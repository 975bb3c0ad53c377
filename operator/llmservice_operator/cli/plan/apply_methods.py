"""What becomes of a live service when a manifest is applied, as each way to apply has it.

`kubectl apply` takes out what the manifest before had and this one has not, by an annotation; a server-side apply does
so by who owns which field. Fields that neither names stay, such as the count that an autoscaler has written.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmservice_contract.foreign import read_json
from llmservice_operator.resources import merge_patch
from llmservice_operator.simulation.server_side_apply import applied, as_applied

Object = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
CLIENT_SIDE = "kubectl-client-side-apply"
_OPERATORS = "llmservice-operator"


@dataclass(frozen=True, slots=True)
class Way:
    """How a manifest is applied."""

    manager: str
    """The field manager."""
    server_side: bool


def way(live: Mapping[str, Any], manager: str | None) -> Way:
    """The way that it was applied by last, or that of the named manager."""
    meta = live["metadata"]
    if manager is not None:
        return Way(manager, True)
    if LAST_APPLIED in (meta.get("annotations") or {}):
        return Way(CLIENT_SIDE, False)
    appliers = [
        str(entry.get("manager"))
        for entry in meta.get("managedFields") or ()
        if entry.get("operation") == "Apply" and "f:spec" in (entry.get("fieldsV1") or {})
    ]
    own = [each for each in appliers if not each.startswith(_OPERATORS)]
    return Way(own[0], True) if own else Way(CLIENT_SIDE, False)


def patch(live: Mapping[str, Any], manifest: Mapping[str, Any]) -> Object:
    """The JSON merge patch that `kubectl apply` sends."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    return _patch(read_json(text), manifest, live)


def merged(live: Mapping[str, Any], manifest: Mapping[str, Any], by: Way) -> Object:
    """The service once the manifest is applied in that way, as far as that can be determined without the API server."""
    if by.server_side:
        known = any(entry.get("manager") == by.manager for entry in live["metadata"].get("managedFields") or ())
        return applied(live, as_applied(live, by.manager) if known else {}, manifest)
    return dict(merge_patch.patched(copy.deepcopy(dict(live)), patch(live, manifest)))


def _patch(before: Any, after: Mapping[str, Any], live: Mapping[str, Any]) -> Object:
    known = before if isinstance(before, dict) else {}
    result: Object = {key: None for key in known if key not in after and key in live}
    for key, value in after.items():
        there = live.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            below = _patch(known.get(key), value, there)
            result |= {key: below} if below else {}
        elif value != there and key not in ("status",):
            result[key] = value
    return result
