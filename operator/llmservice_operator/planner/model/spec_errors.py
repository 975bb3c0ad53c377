"""Messages about an invalid spec: which field, its value, what is allowed."""

import itertools
import json

import pydantic

from llmservice_contract.finding import Finding
from llmservice_operator.planner.report import phrases, reasons

MOST = 5
_NEWER = frozenset({"extra_forbidden", "enum", "literal_error"})
"""Types of errors for fields and values of a later version."""


def explain(error: pydantic.ValidationError) -> Finding:
    """The finding for the user. At most five fields are named; the first one is the field to change."""
    details = error.errors()
    found = [_sentence(_path(each["loc"]), each["msg"], each["type"], each["input"]) for each in details]
    return Finding(reasons.INVALID_SPEC, phrases.join_truncated(found, MOST, "; "), field=_field(details[0]["loc"]))


def is_newer(error: pydantic.ValidationError) -> bool:
    """Whether the spec has only errors about fields and values that a later version may support."""
    return {detail["type"] for detail in error.errors()} <= _NEWER


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _field(location: tuple[int | str, ...]) -> str:
    """The path of the field, up to the first item of a list."""
    return ".".join(["spec", *itertools.takewhile(lambda part: isinstance(part, str), location)])  # type: ignore[list-item]


def _sentence(field: str, message: str, kind: str, value: object) -> str:
    if kind == "missing":
        return f"{field} is missing"
    if kind == "extra_forbidden":
        return f"{field} is not a field that this version of the operator supports"
    shown = json.dumps(value, default=str)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return f"{field} is {shown}: {message[:1].lower()}{message[1:]}"
