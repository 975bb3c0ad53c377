"""Server-side apply, as far as children need it: merges the desired object into the live one.

Fields that are no longer desired are removed if the operator applied them before. Defaults of the API server and fields
of other managers stay, so they are not a difference between before and after.
"""

import json
from collections.abc import Mapping
from typing import Any

from llmservice_operator.planner.model import drift
from llmservice_operator.planner.model.observed import Object

MANAGER = "llmservice-operator"
"""The operator's field manager."""

_DEFAULTED = frozenset({"fieldRef", "volumeClaimTemplates"})
"""Fields that are owned as a whole, although the API server sets defaults in them."""

_SENT = ("name", "namespace", "labels", "annotations", "ownerReferences")
"""Metadata that the API server does not set."""

Json = dict[str, Any]


def applied(live: Object, before: Object | None, desired: Object) -> Json:
    """``live`` after the manager that applied ``before`` has applied ``desired``."""
    return _merged_map(dict(live), dict(before or {}), dict(desired), "")


def as_applied(live: Object, manager: str = MANAGER) -> Json:
    """The part of a live object that ``manager`` applied; all of it if there are no managedFields."""
    own = [
        entry["fieldsV1"]
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and "fieldsV1" in entry
    ]
    if not own:
        meta = {key: live["metadata"][key] for key in _SENT if key in live["metadata"]}
        return {key: value for key, value in live.items() if key != "status"} | {"metadata": meta}
    found = _owned(live, own[0])
    return {**found, "apiVersion": live.get("apiVersion"), "kind": live.get("kind")}


def _owned(live: Any, fields: Mapping[str, Any]) -> Any:
    """The part of ``live`` in a fieldsV1 tree."""
    below = {key: tree for key, tree in fields.items() if key != "."}
    if not below:
        return live
    if isinstance(live, dict):
        return {key[2:]: _owned(live[key[2:]], tree) for key, tree in below.items() if key[2:] in live}
    if isinstance(live, list):
        found = []
        for key, tree in below.items():
            if key.startswith("k:"):
                wanted = json.loads(key[2:])
                found += [_owned(item, tree) for item in live if _has(item, wanted)]
            elif key.startswith("v:"):
                found.append(json.loads(key[2:]))
        return found
    return live


def _has(item: Any, wanted: Mapping[str, Any]) -> bool:
    return isinstance(item, dict) and all(item.get(key) == value for key, value in wanted.items())


def _merged(live: Any, before: Any, desired: Any, field: str, parent: str) -> Any:
    if field in _DEFAULTED and _same(desired, live, field, parent):
        return live
    if isinstance(desired, dict) and isinstance(live, dict):
        return _merged_map(live, before if isinstance(before, dict) else {}, desired, field)
    keys = drift.LIST_KEYS.get(field)
    if keys is not None and isinstance(desired, (list, tuple)) and isinstance(live, list):
        return _merged_list(live, before if isinstance(before, list) else [], desired, keys)
    unchanged = before is None or _same(desired, before, field, parent)
    return live if unchanged and _same(desired, live, field, parent) else desired


def _merged_map(live: Json, before: Json, desired: Json, field: str) -> Json:
    result = {key: value for key, value in live.items() if key in desired or key not in before}
    for key, value in desired.items():
        if key in live:
            result[key] = _merged(live[key], before.get(key), value, key, field)
        elif isinstance(value, (dict, list)) or not drift.within({field: {key: value}}, {field: {}}):
            result[key] = value  # otherwise it is a value that the API server omits, such as 0
    return result


def _merged_list(live: list[Any], before: list[Any], desired: Any, keys: tuple[str, ...]) -> list[Any]:
    there = {_key(item, keys): item for item in live}
    mine = {_key(item, keys): item for item in before}
    wanted = [_key(item, keys) for item in desired]
    result = [
        _merged(there[key], mine.get(key), item, "", "") if key in there else item
        for key, item in zip(wanted, desired, strict=True)
    ]
    return [*result, *(item for key, item in there.items() if key not in mine and key not in wanted)]


def _same(desired: Any, live: Any, field: str, parent: str) -> bool:
    return live is not None and drift.within({parent: {field: desired}}, {parent: {field: live}})


def _key(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key) for key in keys)
