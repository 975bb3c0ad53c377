"""One environment variable of the runtime: its type, its bounds, and how its text is read.

A value is either read completely or refused with a sentence that names the variable, the value and what is
allowed; nothing is rounded, clipped or guessed. An empty value counts as absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

Value = str | int | float | bool | tuple[str, ...]

SHOWN_CHARACTERS = 80


class Kind(Enum):
    """How the text of a variable is read."""

    TEXT = "text"
    NAMES = "comma-separated names"
    CHOICE = "one of"
    BOOLEAN = "true or false"
    INTEGER = "whole number"
    NUMBER = "decimal number"


class BadValue(ValueError):
    """A value that the table does not allow; its text is meant for the person who set it."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A row of the table.

    `field` is the path in an LLMService that the operator takes the value from, empty where no field sets
    it. `flag` is what the value becomes for vLLM: an argument of `vllm serve`, or an environment variable of
    its own. `minimum` and `maximum` bound numbers; for text and each name, `maximum` is the longest length in
    characters.
    """

    name: str
    kind: Kind
    description: str
    absent: str
    field: str = ""
    flag: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    pattern: str = ""
    required: bool = False

    @property
    def allowed(self) -> str:
        """What is allowed, as the end of a sentence: "a whole number from 1 to 64"."""
        unit = f" {self.unit}" if self.unit else ""
        match self.kind:
            case Kind.CHOICE:
                return "one of " + ", ".join(self.choices)
            case Kind.BOOLEAN:
                return "true or false"
            case Kind.INTEGER | Kind.NUMBER:
                article = "a whole number" if self.kind is Kind.INTEGER else "a decimal number"
                return f"{article} from {_plain(self.minimum)} to {_plain(self.maximum)}{unit}"
            case Kind.NAMES:
                return f"names separated by commas, each of at most {_plain(self.maximum)} characters{self._charset}"
            case Kind.TEXT:
                return f"text of at most {_plain(self.maximum)} characters without spaces{self._charset}"

    @property
    def _charset(self) -> str:
        return f", matching {self.pattern}" if self.pattern else ""

    def parse(self, text: str) -> Value:
        """The typed value of `text`. Raises BadValue."""
        text = text.strip()
        match self.kind:
            case Kind.CHOICE:
                if text in self.choices:
                    return text
            case Kind.BOOLEAN:
                if text.lower() in ("true", "false"):
                    return text.lower() == "true"
            case Kind.INTEGER:
                if re.fullmatch(r"[+-]?[0-9]{1,18}", text) and self._within(int(text)):
                    return int(text)
            case Kind.NUMBER:
                if re.fullmatch(r"[+-]?[0-9]{0,9}\.?[0-9]{1,18}", text) and self._within(float(text)):
                    return float(text)
            case Kind.NAMES:
                names = tuple(name.strip() for name in text.split(","))
                if all(self._is_text(name) for name in names):
                    return tuple(dict.fromkeys(names))
            case Kind.TEXT:
                if self._is_text(text):
                    return text
        raise BadValue(f"{self.name}={shown(text)} is not allowed: it has to be {self.allowed}.")

    def _within(self, number: float) -> bool:
        above = self.minimum is None or number >= self.minimum
        return above and (self.maximum is None or number <= self.maximum)

    def _is_text(self, text: str) -> bool:
        length_ok = 0 < len(text) <= (self.maximum or 4096)
        printable = text.isprintable() and " " not in text and not text.startswith("-")
        return length_ok and printable and re.fullmatch(self.pattern or r".*", text) is not None


def _plain(number: float | None) -> str:
    return "any" if number is None else f"{number:.10g}"


def shown(text: str) -> str:
    """`text` quoted and shortened for a message."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")
