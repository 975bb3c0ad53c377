"""Reads a model's config.json, which is untrusted: a missing or invalid value raises NotModelled and is never
guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST = 1 << 24
"""Maximum of any dimension of a model. A number above it is a mistake, and its products would be absurd."""


class NotModelled(Exception):
    """The memory of a model can't be estimated; the text completes a sentence for people."""


@dataclass(frozen=True)
class Config:
    """One level of config.json: the whole document, or that of the text model in a multimodal one."""

    values: Mapping[str, Any]

    def text(self) -> Config:
        """The level that describes the language model."""
        for key in ("text_config", "llm_config", "language_config"):
            inner = self.values.get(key)
            if isinstance(inner, Mapping):
                return Config(inner)
        return self

    def part(self, name: str) -> Config | None:
        """A level below this one; None if there is none."""
        inner = self.values.get(name)
        return Config(inner) if isinstance(inner, Mapping) else None

    def number(self, *names: str, default: int | None = None) -> int:
        """The first of these fields that is set: an integer above 0. Raises NotModelled."""
        found = self.maybe(*names)
        if found is not None:
            return found
        if default is None:
            raise NotModelled(f"its config.json has no {' or '.join(names)}")
        return default

    def maybe(self, *names: str) -> int | None:
        """As ``number``; None if none of them is set, or the value is null or 0. Raises NotModelled."""
        for name in names:
            value = self.values.get(name)
            if value is None or value is False:
                continue
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
                raise NotModelled(f"its config.json has {name}: {_short(value)}, which is not a size")
            if value:
                return value
        return None

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean; ``default`` if it is absent or null."""
        value = self.values.get(name)
        return default if value is None else bool(value)

    def word(self, name: str, default: str = "") -> str:
        """A string; ``default`` if it is not a string."""
        value = self.values.get(name)
        return value if isinstance(value, str) else default

    def ratio(self, name: str, default: float) -> float:
        """A number from 0 to 1000; ``default`` if it is not."""
        value = self.values.get(name)
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1000
        return float(value) if good and value is not None else default

    def items(self, name: str) -> tuple[Any, ...]:
        """A list; empty if it is not a list."""
        value = self.values.get(name)
        return tuple(value) if isinstance(value, list) else ()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
