"""The values of the environment, each read through the row of its setting, which knows the value's type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AcceleratorType
from llmservice_contract.setting import Setting

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given."""

    name: str
    """The variable, by the name that was used."""
    text: str
    value: Any

    def __str__(self) -> str:
        return f"{self.name}={self.text}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why values can't be served."""

    message: str
    """A sentence for the person who set them: which of them, and what to change."""
    field: str = ""
    """Path of the LLMService's field to change first; empty if no field sets them."""

    @classmethod
    def of(cls, message: str, *settings: Setting[Any]) -> Problem:
        """What is wrong about these settings; the first one that a field sets is the one to change."""
        return cls(message, next((each.field for each in settings if each.field), ""))


@dataclass(frozen=True, slots=True)
class Values:
    """What was given, by the current name of the variable; immutable."""

    by_name: Mapping[str, Given] = field(default_factory=dict)

    def given(self, setting: Setting[Any]) -> Given | None:
        """What was given for `setting`."""
        return self.by_name.get(setting.name)

    def get(self, setting: Setting[T]) -> T | None:
        """The value, or else the default; None leaves the choice to vLLM."""
        given = self.by_name.get(setting.name)
        return setting.default if given is None else given.value

    def __getitem__(self, setting: Setting[T]) -> T:
        """The same for a setting that has a default. Raises LookupError for one that has neither."""
        value = self.get(setting)
        if value is None:
            raise LookupError(f"{setting.name} is not set and has no default")
        return value

    def shown(self, setting: Setting[Any]) -> str:
        """For a message: by the name and as the text that the person used, else with the default."""
        default = "" if setting.default is None else setting.text(setting.default)
        return str(self.by_name.get(setting.name) or f"{setting.name}={default}")

    def having(self, setting: Setting[T], value: T) -> Values:
        """The same with another value."""
        text = setting.text(value)
        return Values({**self.by_name, setting.name: Given(setting.name, text, value)})

    def without_effect(self, device: AcceleratorType) -> list[Given]:
        """What was given, is not the default, and does not apply to `device`."""
        return [
            given
            for setting in rows.SETTINGS
            if device not in setting.devices
            and (given := self.given(setting)) is not None
            and given.value != setting.default
        ]

    def on(self, device: AcceleratorType) -> Values:
        """The same on another device, without what does not apply to it."""
        lost = {given.name for given in self.without_effect(device)}
        kept = {name: given for name, given in self.by_name.items() if given.name not in lost}
        return Values(kept).having(rows.ACCELERATOR, device)
