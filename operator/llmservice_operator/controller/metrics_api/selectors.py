"""Parses label selectors in URLs: ``a=b,c!=d,e in (f,g),h notin (i),j,!k``."""

import dataclasses
import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\s*(==|!=|[=!,()]|[^\s=!,()]+)")
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_KEY = re.compile(rf"((?=[^/]{{1,253}}/){_DOMAIN}/)?{_NAME}")
_VALUE = re.compile(rf"({_NAME})?")
_END = ""


class SelectorError(ValueError):
    """The selector is invalid; the message says why."""


@dataclasses.dataclass(frozen=True)
class Requirement:
    """``key`` has one of ``values``, or with ``negated`` none of them. With ``values`` None: the key exists, or not."""

    key: str
    values: frozenset[str] | None = None
    negated: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels match. A missing key matches a negated requirement."""
        met = self.key in labels if self.values is None else labels.get(self.key) in self.values
        return met is not self.negated


@dataclasses.dataclass(frozen=True)
class Selector:
    """Selects labels that match all requirements."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels match."""
        return all(each.matches(labels) for each in self.requirements)

    def values(self, key: str) -> frozenset[str] | None:
        """All values that the label ``key`` can have in selected labels; None if they are not limited."""
        asked = (each.values for each in self.requirements if each.key == key and not each.negated)
        return next((values for values in asked if values is not None), None)


def parse(text: str) -> Selector:
    """The selector in ``text``; an empty one selects everything. Raises SelectorError."""
    tokens = _Tokens(text)
    requirements = []
    if tokens.next != _END:
        requirements.append(_requirement(tokens))
        while tokens.next != _END:
            tokens.expect(",")
            requirements.append(_requirement(tokens))
    return Selector(tuple(requirements))


class _Tokens:
    """The tokens of a selector, one after the other, then _END."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rest = _TOKEN.findall(text)

    @property
    def next(self) -> str:
        return self._rest[0] if self._rest else _END

    def take(self) -> str:
        return self._rest.pop(0) if self._rest else _END

    def expect(self, mark: str) -> None:
        found = self.take()
        if found != mark:
            raise self.error(f"found {found!r}, expected {mark!r}")

    def word(self, pattern: re.Pattern[str], what: str) -> str:
        found = self.take()
        if not pattern.fullmatch(found):
            raise self.error(f"{found!r} is not a valid label {what}")
        return found

    def error(self, problem: str) -> SelectorError:
        return SelectorError(f"the label selector {self._text!r} is invalid: {problem}")


def _requirement(tokens: _Tokens) -> Requirement:
    if tokens.next == "!":
        tokens.take()
        return Requirement(tokens.word(_KEY, "name"), negated=True)
    key = tokens.word(_KEY, "name")
    if tokens.next in (",", _END):
        return Requirement(key)
    match tokens.take():
        case "=" | "==":
            return Requirement(key, frozenset({_value(tokens, ",")}))
        case "!=":
            return Requirement(key, frozenset({_value(tokens, ",")}), negated=True)
        case "in":
            return Requirement(key, _values(tokens))
        case "notin":
            return Requirement(key, _values(tokens), negated=True)
        case other:
            raise tokens.error(f"found {other!r}, expected =, ==, !=, in or notin")


def _values(tokens: _Tokens) -> frozenset[str]:
    tokens.expect("(")
    values = {_value(tokens, ",)")}
    while tokens.next != ")":
        tokens.expect(",")
        values.add(_value(tokens, ",)"))
    tokens.take()
    return frozenset(values)


def _value(tokens: _Tokens, ends: str) -> str:
    """The value before one of the tokens in ``ends``; it may be empty."""
    return "" if tokens.next in (_END, *ends) else tokens.word(_VALUE, "value")
