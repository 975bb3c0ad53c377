"""What is wrong with a spec that the types refuse, as sentences: which field, what it is, what is allowed."""

import json

import pydantic

from llmservice_operator.core import words

MOST = 5
_NEWER = frozenset({"extra_forbidden", "enum", "literal_error"})
"""Types of errors that a spec of a later version has: what this version doesn't know."""


def explain(error: pydantic.ValidationError) -> str:
    """The error as text for the user; at most five fields are named."""
    found = [_sentence(detail["loc"], detail["msg"], detail["type"], detail["input"]) for detail in error.errors()]
    return words.some(found, MOST).replace(", spec", "; spec")


def is_newer(error: pydantic.ValidationError) -> bool:
    """Whether the spec holds nothing wrong but fields and choices that this version doesn't know."""
    return {detail["type"] for detail in error.errors()} <= _NEWER


def _sentence(path: tuple[int | str, ...], message: str, kind: str, value: object) -> str:
    field = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    if kind == "missing":
        return f"{field} is missing"
    if kind == "extra_forbidden":
        return f"{field} is not a field that this version of the operator knows"
    shown = json.dumps(value, default=str)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return f"{field} is {shown}: {message[:1].lower()}{message[1:]}"
