"""JSON that somebody else wrote: read within bounds of size and depth, or not at all."""

from __future__ import annotations

import json
from typing import Any

MOST_CHARACTERS = 256 << 10
"""Of a text. All annotations of an object together have no more."""
DEEPEST = 32
"""Levels of lists and objects inside each other."""


def read_json(text: object, *, most: int = MOST_CHARACTERS, deepest: int = DEEPEST) -> Any:
    """The value; None where the text is no JSON, or beyond the bounds. Halves of characters become question marks."""
    if not isinstance(text, str) or len(text) > most:
        return None
    try:
        found = json.loads(text, parse_constant=_no_number)
        if not _shallow(found, deepest):
            return None
        if "\\ud" in text.lower():
            found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _shallow(value: Any, deepest: int) -> bool:
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
