"""The type of an engine setting: its values, bounds and names, and how it is passed to vLLM.

A row of the table in ``engine_settings`` is an instance of one of these classes. ``Setting[T]`` has values of type
``T``. A text is either parsed completely or rejected with a message that names the variable, the value and what is
allowed; nothing is rounded, clipped or guessed.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Generic, TypeVar

from llmservice_contract.choices import EVERY_DEVICE, AcceleratorType
from llmservice_contract.foreign import read_json

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

SHOWN_CHARACTERS = 80


class BadValue(ValueError):
    """A value is not allowed; the text is for the user who set it."""


class Target(Enum):
    """What receives a setting's value."""

    NONE = "none"
    """The runtime itself."""
    ENGINE = "engine"
    """vLLM, as an argument on all nodes of a replica."""
    SERVER = "server"
    """vLLM, as an argument only on the node with the HTTP server."""
    VARIABLE = "variable"
    """vLLM, as an environment variable."""
    COMPOSED = "composed"
    """vLLM, in an argument or variable that the runtime composes; the names are for documentation."""


@dataclass(frozen=True, slots=True)
class Passing:
    """How a value is passed to vLLM."""

    target: Target = Target.NONE
    names: tuple[str, ...] = ()


def flag(*names: str) -> Passing:
    """As arguments of `vllm serve` on every node."""
    return Passing(Target.ENGINE, names)


def server_flag(*names: str) -> Passing:
    """As arguments of `vllm serve` on the node with the HTTP server."""
    return Passing(Target.SERVER, names)


def vllm_variable(*names: str) -> Passing:
    """As environment variables of vLLM."""
    return Passing(Target.VARIABLE, names)


def composed(*names: str) -> Passing:
    """As part of an argument that the runtime composes from several settings."""
    return Passing(Target.COMPOSED, names)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting(ABC, Generic[T]):
    """A row of the table. Rows are compared by identity."""

    description: str
    field: str = ""
    """Path in an LLMService, such as ``spec.engine.maxNumSeqs``; empty if no field sets it."""
    variable: str = ""
    """Name of the variable if its value is not that of the field, such as a file's path. Empty: derived from the
    field."""
    aliases: tuple[str, ...] = ()
    """Other names of the variable, which are accepted too."""
    default: T | None = None
    """The value if it is not set; None leaves the choice to vLLM."""
    absent: str = ""
    """What applies if it is not set, in words, if the default does not say it."""
    passing: Passing = Passing()
    devices: frozenset[AcceleratorType] = EVERY_DEVICE
    """Devices that it applies to. On others only the default is allowed."""
    elsewhere: str = ""
    """Why it does not apply to other devices, as part of a sentence."""
    instead: str = ""
    """The field to set on other devices."""
    required: bool = False

    @property
    def name(self) -> str:
        """The variable's name: ``spec.engine.maxNumSeqs`` is ENGINE_MAX_NUM_SEQS."""
        return self.variable or _in_capitals(self.field)

    @property
    def vllm_names(self) -> tuple[str, ...]:
        """The names of vLLM's arguments or variables."""
        return self.passing.names

    @property
    def is_copied(self) -> bool:
        """Whether the operator copies the field's value unchanged."""
        return bool(self.field) and not self.variable

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The allowed values, as the end of a sentence: "a whole number from 1 to 64"."""

    def parse(self, text: str, name: str = "") -> T:
        """The value of `text` in the variable `name`. Raises BadValue."""
        text = text.strip()
        value = self._read(text)
        if value is None:
            raise BadValue(f"{name or self.name}={shown(text)} is not allowed: it must be {self.allowed}.")
        return value

    @abstractmethod
    def _read(self, text: str) -> T | None:
        """The value; None if it is not allowed."""

    def text(self, value: T) -> str:
        """The variable's text for `value`; `parse` gives it back."""
        return str(value)

    def arguments(self, value: T) -> tuple[str, ...]:
        """The arguments of `vllm serve` for `value`."""
        return tuple(part for name in self.passing.names for part in (name, str(value)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Whole(Setting[int]):
    """A whole number."""

    minimum: int
    maximum: int
    unit: str = ""

    @property
    def allowed(self) -> str:
        """What is allowed."""
        return f"a whole number from {self.minimum} to {self.maximum}{_unit(self.unit)}"

    def _read(self, text: str) -> int | None:
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
        return number if number is not None and self.minimum <= number <= self.maximum else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decimal(Setting[float]):
    """A decimal number."""

    minimum: float
    maximum: float

    @property
    def allowed(self) -> str:
        """What is allowed."""
        return f"a decimal number from {self.minimum:.10g} to {self.maximum:.10g}"

    def _read(self, text: str) -> float | None:
        number = float(text) if re.fullmatch(r"[+-]?[0-9]{0,9}\.?[0-9]{1,18}", text) else None
        return number if number is not None and self.minimum <= number <= self.maximum else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Milliseconds(Setting[int]):
    """A short time: ``20ms`` or ``2s``; a number without a unit is milliseconds."""

    maximum: int

    @property
    def digits(self) -> int:
        """Maximum number of digits of a time."""
        return len(str(self.maximum))

    @property
    def allowed(self) -> str:
        """What is allowed."""
        return f"a time of at most {self.maximum}ms, such as 20ms or 2s"

    def _read(self, text: str) -> int | None:
        found = re.fullmatch(rf"([0-9]{{1,{self.digits}}})(ms|s)?", text)
        if found is None:
            return None
        number = int(found[1]) * (1000 if found[2] == "s" else 1)
        return number if number <= self.maximum else None

    def text(self, value: int) -> str:
        """The time with its unit."""
        return f"{value}ms"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Text(Setting[str]):
    """A text without spaces that can't be mistaken for a flag."""

    longest: int
    pattern: str = ""
    in_words: str = ""
    """The pattern, for people."""

    @property
    def allowed(self) -> str:
        """What is allowed."""
        return f"text of at most {self.longest} characters without spaces{_form(self.pattern, self.in_words)}"

    def _read(self, text: str) -> str | None:
        return text if _is_text(text, self.longest, self.pattern) else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Names(Setting[tuple[str, ...]]):
    """Names separated by commas, without duplicates."""

    most: int
    longest: int
    shortest: int = 1
    pattern: str = ""
    in_words: str = ""
    """The pattern of each name, for people."""

    @property
    def allowed(self) -> str:
        """What is allowed."""
        each = f"each of at most {self.longest} characters{_form(self.pattern, self.in_words)}"
        return f"at most {self.most} names separated by commas, {each}"

    def _read(self, text: str) -> tuple[str, ...] | None:
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
        good = len(names) <= self.most and all(
            len(name) >= self.shortest and _is_text(name, self.longest, self.pattern) for name in names
        )
        return names if good else None

    def text(self, value: tuple[str, ...]) -> str:
        """The names separated by commas."""
        return ",".join(value)

    def arguments(self, value: tuple[str, ...]) -> tuple[str, ...]:
        """The flag followed by all names."""
        return tuple(part for name in self.passing.names for part in (name, *value))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entries(Setting[Mapping[str, str]]):
    """A JSON object of strings."""

    most: int
    longest_name: int
    longest: int

    @property
    def allowed(self) -> str:
        """What is allowed."""
        return (
            f"a JSON object of at most {self.most} names of at most {self.longest_name} characters, each with a text "
            f"of at most {self.longest}"
        )

    def _read(self, text: str) -> Mapping[str, str] | None:
        found = read_json(text, deepest=1)
        good = isinstance(found, dict) and len(found) <= self.most
        if not good or not all(self._is_entry(name, value) for name, value in found.items()):
            return None
        return dict(found)

    def _is_entry(self, name: str, value: object) -> bool:
        return 0 < len(name) <= self.longest_name and isinstance(value, str) and 0 < len(value) <= self.longest

    def text(self, value: Mapping[str, str]) -> str:
        """The object with sorted names."""
        return json.dumps(dict(value), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Document(Setting[Mapping[str, Any]]):
    """A JSON object. `forbidden` matches keys that it may not have at any depth."""

    longest: int
    deepest: int
    forbidden: str
    in_words: str
    """What the pattern of keys says, for people."""

    @property
    def allowed(self) -> str:
        """What is allowed."""
        most = f"at most {self.longest} characters and {self.deepest} levels"
        return f"a JSON object of {most}, without keys {self.in_words}"

    def _read(self, text: str) -> Mapping[str, Any] | None:
        found = read_json(text, most=self.longest, deepest=self.deepest)
        return found if isinstance(found, dict) and self._is_clean(found) else None

    def _is_clean(self, value: object) -> bool:
        if isinstance(value, dict):
            return not any(re.search(self.forbidden, key) for key in value) and self._is_clean(list(value.values()))
        return not isinstance(value, list) or all(self._is_clean(each) for each in value)

    def text(self, value: Mapping[str, Any]) -> str:
        """The object in one line."""
        return json.dumps(dict(value), separators=(",", ":"))

    def arguments(self, value: Mapping[str, Any]) -> tuple[str, ...]:
        """The flag with the object in one line."""
        return tuple(part for name in self.passing.names for part in (name, self.text(value)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Switch(Setting[bool]):
    """True or false."""

    @property
    def allowed(self) -> str:
        """What is allowed."""
        return "true or false"

    def _read(self, text: str) -> bool | None:
        return {"true": True, "false": False}.get(text.lower())

    @property
    def vllm_names(self) -> tuple[str, ...]:
        """The flags of both values."""
        return tuple(part for value in (True, False) for part in self.arguments(value))

    def text(self, value: bool) -> str:
        """In lower case, as in YAML."""
        return str(value).lower()

    def arguments(self, value: bool) -> tuple[str, ...]:
        """`--enable-x` or `--no-enable-x`."""
        return tuple(name if value else f"--no-{name.removeprefix('--')}" for name in self.passing.names)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice(Setting[E]):
    """One of a few words."""

    choices: type[E]
    vllm_words: Mapping[E, str] | None = None
    """vLLM's words; a choice without one gives no argument. None: vLLM uses the same words."""

    @property
    def allowed(self) -> str:
        """What is allowed."""
        return "one of " + ", ".join(self.choices)

    def _read(self, text: str) -> E | None:
        return self.choices(text) if text in list(self.choices) else None

    def arguments(self, value: E) -> tuple[str, ...]:
        """The flag with vLLM's word for `value`."""
        word = str(value) if self.vllm_words is None else self.vllm_words.get(value)
        return () if word is None else tuple(part for name in self.passing.names for part in (name, word))


def shown(text: str) -> str:
    """`text` quoted and shortened for a message."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")


def _in_capitals(path: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path.removeprefix("spec."))
    return words.replace(".", "_").upper()


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _form(pattern: str, in_words: str) -> str:
    if in_words:
        return f": {in_words}"
    return f", matching {pattern}" if pattern else ""


def _is_text(text: str, longest: int, pattern: str) -> bool:
    printable = text.isprintable() and " " not in text and not text.startswith("-")
    return 0 < len(text) <= longest and printable and re.fullmatch(pattern or r".*", text) is not None
