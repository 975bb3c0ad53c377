"""Evaluates the selectors of devices that drivers and platforms usually write, without a CEL interpreter.

A selector is read as a conjunction of comparisons of ``device.driver``, attributes and capacities. Anything else counts
as not known, so that the number of matching devices is an upper bound.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmservice_operator.planner.model.observed import Device
from llmservice_operator.resources import quantity

LONGEST = 10 * 1024
"""Maximum length of an expression, as in Kubernetes."""
MOST_TERMS = 16
"""Maximum number of comparisons of one expression that are evaluated. There may be thousands of devices."""
Value = str | int | bool
Term = Callable[[Device], bool | None]


_DOMAIN = r"\[\s*[\"'](?P<domain>[^\"']+)[\"']\s*\]\s*\.\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
_LITERAL = r"(?P<value>\"[^\"\\]*\"|'[^'\\]*'|-?[0-9]{1,18}|true|false)"
_DRIVER = re.compile(rf"device\.driver\s*(?P<sign>==|!=)\s*{_LITERAL}")
_ATTRIBUTE = re.compile(rf"device\.attributes\s*{_DOMAIN}\s*(?P<sign>==|!=|>=|<=|>|<)\s*{_LITERAL}")
_AMONG = re.compile(rf"device\.attributes\s*{_DOMAIN}\s+in\s+\[(?P<values>[^\]\\]*)\]")
_FLAG = re.compile(rf"(?P<negated>!?)\s*device\.attributes\s*{_DOMAIN}")
_CAPACITY = re.compile(
    rf"device\.capacity\s*{_DOMAIN}\s*\.\s*compareTo\(\s*quantity\(\s*[\"'](?P<amount>[^\"']+)[\"']\s*\)\s*\)\s*"
    r"(?P<sign>==|!=|>=|<=|>|<)\s*0"
)
_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda one, other: bool(one == other),
    "!=": lambda one, other: bool(one != other),
    ">=": lambda one, other: bool(one >= other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    "<": lambda one, other: bool(one < other),
}


def matches(device: Device, expressions: Iterable[str]) -> bool | None:
    """Whether the device satisfies all expressions; None if that is not known."""
    found = [_matches(device, expression) for expression in expressions]
    return False if False in found else None if None in found else True


def _matches(device: Device, expression: str) -> bool | None:
    terms = _terms(expression) if len(expression) <= LONGEST else None
    if terms is None:
        return None
    found = [term(device) for term in terms]
    return False if False in found else None if None in found else True


@functools.lru_cache(maxsize=256)
def _terms(expression: str) -> list[Term] | None:
    """The tests that the parts of a conjunction mean; None if it is something else. Parsed once for all devices."""
    parts = _parts(expression)
    return None if parts is None or len(parts) > MOST_TERMS else [_term(part) for part in parts]


def _parts(expression: str) -> list[str] | None:
    """The parts of a conjunction; None if it is something else."""
    parts, depth, quote, start, at = [], 0, "", 0, 0
    text = expression.strip()
    while at < len(text):
        char = text[at]
        if quote:
            at += 2 if char == "\\" else 1
            quote = "" if char == quote else quote
            continue
        if char in "\"'":
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif depth == 0 and (char == "?" or text.startswith("||", at)):
            return None
        elif depth == 0 and text.startswith("&&", at):
            parts.append(text[start:at].strip())
            start = at = at + 2
            continue
        at += 1
    return [*parts, text[start:].strip()]


def _term(term: str) -> Term:
    """The test of a device that one comparison means."""
    if term in ("true", "false"):
        return lambda device: term == "true"
    if found := _DRIVER.fullmatch(term):
        compare, driver = _SIGNS[found["sign"]], _literal(found["value"])
        return lambda device: compare(device.driver, driver)
    if found := _ATTRIBUTE.fullmatch(term):
        key, sign, value = _key(found), found["sign"], _literal(found["value"])
        return lambda device: _compared(device.attributes.get(key), sign, value)
    if found := _AMONG.fullmatch(term):
        values = [each.strip() for each in found["values"].split(",")]
        if not all(re.fullmatch(_LITERAL, each) for each in values):
            return _unknown
        key, literals = _key(found), [_literal(each) for each in values]
        return lambda device: device.attributes.get(key) in literals
    if found := _FLAG.fullmatch(term):
        key, negated = _key(found), bool(found["negated"])
        return lambda device: _is_flag(device.attributes.get(key), negated)
    if found := _CAPACITY.fullmatch(term):
        try:
            amount = quantity.parse(found["amount"])
        except ValueError:
            return _unknown
        key, sign = _key(found), found["sign"]
        return lambda device: _compared(device.capacity.get(key), sign, amount)
    return _unknown


def _unknown(device: Device) -> None:
    """Of a comparison that can't be read."""


def _is_flag(value: Any, negated: bool) -> bool:
    return isinstance(value, bool) and value is not negated


def _key(found: re.Match[str]) -> str:
    return f"{found['domain']}/{found['name']}"


def _compared(value: Any, sign: str, other: Any) -> bool:
    """A comparison with a value that the device lacks, or of another type, selects nothing."""
    alike = isinstance(value, str) == isinstance(other, str) and isinstance(value, bool) == isinstance(other, bool)
    return value is not None and alike and _SIGNS[sign](value, other)


def _literal(text: str) -> Value:
    if text[0] in "\"'":
        return text[1:-1]
    return text == "true" if text in ("true", "false") else int(text)
