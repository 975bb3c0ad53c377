"""What the patterns, grammars and schemas of a request would cost the engine and the event loop.

vLLM makes a grammar of each pattern before the engine sees the request, on the event loop that serves every client.
That takes ten seconds for `.{0,5000}` and 25 milliseconds for `.{0,300}`; a hundred patterns like `[a-z]{0,99}x` take
a gibibyte. The time grows with the square of a count, the memory with the sum; both are bounded over the whole request.

Every text of a schema counts, except those that are only shown or compared: a pattern may stand in many places, as a
JSON text within JSON too. Such a text is read by the parser that vLLM reads it with, so that both find the same in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llmservice_runtime.gateway.ambiguity import is_ambiguous

MOST_REPEATS = 2000
"""Sum of the counts."""
MOST_IN_ONE_PLACE = 300
MOST_SQUARES = MOST_IN_ONE_PLACE**2
"""Sum of their squares."""
MOST_PATTERN_BYTES = 4096
"""Characters of one regular expression. One of 6,000 alternatives took seconds to compile."""
_COUNT = re.compile(r"\{\s*+(\d++)\s*+(?:,\s*+(\d*+)\s*+)?\}|~\s*+(\d++)(?:\s*+\.\.\s*+(\d++))?", re.ASCII)
"""As in regular expressions and EBNF, and as in Lark."""
_LITERALS = frozenset(
    (
        *("description", "title", "name", "$comment", "$id", "$ref", "$schema"),
        *("enum", "const", "default", "example", "examples", "choice", "guided_choice", "required"),
    )
)
"""Their texts are no patterns; objects in them are walked through, since a property may have any of these names."""
_PATTERNS = ("pattern", "regex", "guided_regex")
_TEXTS = frozenset(
    (*_PATTERNS, *("grammar", "guided_grammar", "definition", "begin", "end", "trigger", "triggers", "excludes"))
)
"""Their texts are never read as JSON, even if they are JSON: `["](",[{"name":"].{0,9})"}]]` is a regular expression."""
_MOST_DIGITS = 9

Part = str | dict[str, Any]
"""A text that may be a pattern, or an object. All that follows is asked of the parts of one walk."""


def excess_repeats(parts: Sequence[Part]) -> int | None:
    """How often the patterns in them repeat something, if that is too often."""
    repeats = squares = 0
    for text in _texts(parts):
        for found in _COUNT.finditer(text):
            count = max(_number(digits) for digits in found.groups() if digits)
            repeats += count
            squares += count * count
    return repeats if repeats > MOST_REPEATS or squares > MOST_SQUARES else None


def has_ambiguous(parts: Sequence[Part]) -> bool:
    """Whether a pattern in them matches one text in very many ways."""
    return any(is_ambiguous(text) for text in _texts(parts))


def grammars(parts: Sequence[Part]) -> int:
    """How many grammars (EBNF, Lark) are in them."""
    return sum(
        isinstance(part.get("grammar"), str) or (part.get("type") == "grammar" and "definition" in part)
        for part in parts
        if isinstance(part, dict)
    )


def longest_pattern(parts: Sequence[Part]) -> int:
    """Characters of the longest regular expression in them."""
    return max((len(text) for part in parts if isinstance(part, dict) for text in _patterns_of(part)), default=0)


def has_wide_objects(parts: Sequence[Part]) -> bool:
    """Whether the objects that a schema describes have so many properties that vLLM takes long to make a grammar of
    them, on the event loop: the time grows with the square of their number."""
    counts = (
        len(part["properties"]) for part in parts if isinstance(part, dict) and isinstance(part.get("properties"), dict)
    )
    return sum(count * count for count in counts) > MOST_SQUARES


def _patterns_of(part: dict[str, Any]) -> Iterator[str]:
    yield from (part[name] for name in _PATTERNS if isinstance(part.get(name), str))
    if isinstance(part.get("patternProperties"), dict):
        yield from part["patternProperties"]


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _texts(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        else:
            yield from part


def parts_of(value: Any) -> Iterator[Part]:
    """Texts that may be patterns, and all objects."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            inner = _json_in(part)
            if inner is not None:
                waiting.append(inner)
            if not isinstance(inner, dict | list):
                yield part
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            yield part
            for name, inner in part.items():
                if name in _TEXTS:
                    yield from _strings(inner)
                waiting.extend(_containers(inner) if name in _LITERALS or name in _TEXTS else (inner,))


def is_object(schema: Any) -> bool:
    """Whether it is a JSON object, or a text that vLLM reads as one."""
    return isinstance(_json_in(schema) if isinstance(schema, str) else schema, dict)


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else ()


def _containers(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (value,)
    return [part for part in value if isinstance(part, dict | list)] if isinstance(value, list) else ()


def _json_in(text: str) -> Any:
    """What a schema that is written as a text says; None if it is no JSON object, list or text.

    By vLLM's own parser: stricter ones refuse what it reads, such as half a pair of surrogates, and so see nothing.
    """
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
