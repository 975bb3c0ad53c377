"""Parses untrusted JSON within bounds of size and depth."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

MOST_CHARACTERS = 256 << 10
"""Maximum length of a text. All annotations of an object together have at most as much."""
DEEPEST = 32
"""Maximum depth of nested lists and objects."""

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_OPENING = re.compile(rb'(?<!\\)"managedFields"\s*:\s*\[')
_REST = re.compile(rb'(?:[^"\]]++|' + _STRING + rb")*+\]", re.DOTALL)
"""The rest of such a list: its keys may contain brackets, but there are no lists in it."""
_ENTRY = re.compile(rb'(?<!\\)"(manager|operation)"\s*:\s*(' + _STRING + rb")", re.DOTALL)
"""The parts of an entry: each has an operation, and the manager's name precedes it."""


_REPLICA_FIELDS = ("f:replicas", "f:minReplicas", "f:maxReplicas")
"""Fields of an object's spec whose owners are read."""
_NAMED = (b'"f:replicas"', b'"f:maxReplicas"', b'"f:minReplicas"')
_LONGEST_READ = 16 << 10
"""Maximum size in bytes of ``managedFields`` whose fields are read. Usual ones have a few KiB."""


def read_json(text: object, *, most: int = MOST_CHARACTERS, deepest: int = DEEPEST) -> Any:
    """The value; None if the text is not JSON or exceeds the bounds. Unpaired surrogates become question marks."""
    if not isinstance(text, str) or len(text) > most:
        return None
    try:
        found = json.loads(text, parse_constant=_no_number)
        if not is_shallow(found, deepest):
            return None
        if "\\ud" in text.lower():
            found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def is_shallow(value: Any, deepest: int) -> bool:
    """Whether lists and objects are nested at most ``deepest`` levels."""
    level = [value]
    for _ in range(deepest + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return True
    return False


def without_owned_fields(data: bytes) -> bytes:
    """The JSON with only the managers' names in each ``managedFields``. Entries that own a replica count in the spec
    also keep their operation, subresource and time."""
    parts, at = [], 0
    while (opening := _OPENING.search(data, at)) is not None:
        rest = _REST.match(data, opening.end())
        if rest is None:
            break
        parts += [data[at : opening.end()], _managers(rest.group()), b"]"]
        at = rest.end()
    return b"".join([*parts, data[at:]]) if parts else data


def _managers(entries: bytes) -> bytes:
    """The entries with only their managers, in the same order, because a JSON patch refers to their positions."""
    if len(entries) <= _LONGEST_READ and any(name in entries for name in _NAMED):
        with contextlib.suppress(ValueError, RecursionError):
            found = [_entry(each) for each in json.loads(b"[" + entries)]
            return json.dumps(found, separators=(",", ":")).encode()[1:-1]
    return _names_of_managers(entries)


def _entry(entry: Any) -> dict[str, Any]:
    """The needed part of an entry. Raises ValueError if it is not an object."""
    if not isinstance(entry, dict):
        raise ValueError("an entry of managedFields must be an object")
    found: dict[str, Any] = {"manager": entry.get("manager", "")}
    fields = entry.get("fieldsV1")
    spec = fields.get("f:spec") if isinstance(fields, dict) else None
    owned: dict[str, Any] = {name: {} for name in _REPLICA_FIELDS if name in spec} if isinstance(spec, dict) else {}
    if owned:
        texts = {key: entry[key] for key in ("operation", "subresource", "time") if isinstance(entry.get(key), str)}
        found |= {**texts, "fieldsV1": {"f:spec": owned}}
    return found


def _names_of_managers(entries: bytes) -> bytes:
    found: list[bytes] = []
    manager = b""
    for key, value in _ENTRY.findall(entries):
        if key == b"operation" or manager:
            found.append(b'{"manager":' + (manager or b'""') + b"}")
        manager = value if key == b"manager" else b""
    if manager:
        found.append(b'{"manager":' + manager + b"}")
    return b",".join(found)
