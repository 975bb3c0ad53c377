"""JSON from an untrusted author: read within bounds of size and depth, or not at all."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

MOST_CHARACTERS = 256 << 10
"""Of a text. All annotations of an object together have no more."""
DEEPEST = 32
"""Levels of lists and objects inside each other."""

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_OPENING = re.compile(rb'(?<!\\)"managedFields"\s*:\s*\[')
_REST = re.compile(rb'(?:[^"\]]++|' + _STRING + rb")*+\]", re.DOTALL)
"""Up to the end of such a list: keys in it hold brackets, but there are no lists in it."""
_ENTRY = re.compile(rb'(?<!\\)"(manager|operation)"\s*:\s*(' + _STRING + rb")", re.DOTALL)
"""Of an entry: each has an operation, and the manager's name stands before it."""


_REPLICA_FIELDS = ("f:replicas", "f:minReplicas", "f:maxReplicas")
"""Of an object's spec: of these fields it is read who owns them."""
_NAMED = (b'"f:replicas"', b'"f:maxReplicas"', b'"f:minReplicas"')
_LONGEST_READ = 16 << 10
"""Bytes of the longest ``managedFields`` whose fields are looked into. Usual ones have some KiB."""


def read_json(text: object, *, most: int = MOST_CHARACTERS, deepest: int = DEEPEST) -> Any:
    """The value; None if the text is no JSON, or beyond the bounds. Halves of characters become question marks."""
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
    raise ValueError(f"{text} is no number")


def is_shallow(value: Any, deepest: int) -> bool:
    """Whether lists and objects are inside each other for at most so many levels."""
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
    """The JSON with nothing but managers' names in each ``managedFields``, and of entries that own a number of replicas
    in the spec when and how they came to it."""
    parts, at = [], 0
    while (opening := _OPENING.search(data, at)) is not None:
        rest = _REST.match(data, opening.end())
        if rest is None:
            break
        parts += [data[at : opening.end()], _managers(rest.group()), b"]"]
        at = rest.end()
    return b"".join([*parts, data[at:]]) if parts else data


def _managers(entries: bytes) -> bytes:
    """The entries with their managers alone, each at its place: a JSON patch names an entry by that."""
    if len(entries) <= _LONGEST_READ and any(name in entries for name in _NAMED):
        with contextlib.suppress(ValueError, RecursionError):
            found = [_entry(each) for each in json.loads(b"[" + entries)]
            return json.dumps(found, separators=(",", ":")).encode()[1:-1]
    return _names_of_managers(entries)


def _entry(entry: Any) -> dict[str, Any]:
    """An entry with what is read of it. Raises ValueError if it is none."""
    if not isinstance(entry, dict):
        raise ValueError("an entry of managedFields is an object")
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
