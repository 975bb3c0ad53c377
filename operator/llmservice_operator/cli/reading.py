"""Answers of an API server, read within bounds, because each object in them is as its author made it.

Who owns which field (``managedFields``) is the only part of these kinds without a schema: the API server takes it
nested thousands of levels deep, and with numbers of any length. If that can't be read, or is deeper than any schema
is, the names of the managers stay of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmservice_contract.foreign import is_shallow, without_owned_fields

MOST_BYTES = 64 << 20
"""Of one answer."""
DEEPEST = 64
"""Levels of ``fieldsV1``."""
_LONGEST_NUMBER = 32


def document(data: bytes) -> dict[str, Any] | None:
    """The JSON object; None if it is none."""
    try:
        found = _loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    items = found.get("items")
    for each in items if isinstance(items, list) else [found]:
        _prune(each)
    return found


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data, parse_int=_number)
    except RecursionError:
        return json.loads(without_owned_fields(data), parse_int=_number)


def _number(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_NUMBER else float(text)


def _prune(obj: Any) -> None:
    meta = obj.get("metadata") if isinstance(obj, Mapping) else None
    for entry in (meta.get("managedFields") if isinstance(meta, Mapping) else None) or ():
        if isinstance(entry, dict) and not is_shallow(entry.get("fieldsV1"), DEEPEST):
            entry["fieldsV1"] = {}
