"""The values of environment variables, parsed by the row of their setting, which has the type."""

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
    """A value as the user set it."""

    name: str
    """Name of the variable that was set; it may be an alias."""
    text: str
    value: Any

    def __str__(self) -> str:
        return f"{self.name}={self.text}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why values are invalid."""

    message: str
    """A sentence for the user: which values are wrong, and what to change."""
    field: str = ""
    """Path of the LLMService's field to change first; empty if no field sets them."""

    @classmethod
    def of(cls, message: str, *settings: Setting[Any]) -> Problem:
        """A problem of these settings; the field of the first one that has a field is the one to change."""
        return cls(message, next((each.field for each in settings if each.field), ""))


@dataclass(frozen=True, slots=True)
class Values:
    """The values by the current name of their variable; immutable."""

    by_name: Mapping[str, Given] = field(default_factory=dict)

    def given(self, setting: Setting[Any]) -> Given | None:
        """The value as it was set for `setting`."""
        return self.by_name.get(setting.name)

    def get(self, setting: Setting[T]) -> T | None:
        """The value or the default; None leaves the choice to vLLM."""
        given = self.by_name.get(setting.name)
        return setting.default if given is None else given.value

    def __getitem__(self, setting: Setting[T]) -> T:
        """The value or the default. Raises LookupError if there is neither."""
        value = self.get(setting)
        if value is None:
            raise LookupError(f"{setting.name} is not set and has no default")
        return value

    def shown(self, setting: Setting[Any]) -> str:
        """Name and value for a message, as the user set them, otherwise with the default."""
        default = "" if setting.default is None else setting.text(setting.default)
        return str(self.by_name.get(setting.name) or f"{setting.name}={default}")

    def having(self, setting: Setting[T], value: T) -> Values:
        """These values with another value for `setting`."""
        text = setting.text(value)
        return Values({**self.by_name, setting.name: Given(setting.name, text, value)})

    def without_effect(self, device: AcceleratorType) -> list[Given]:
        """Settings with a value other than the default that do not apply to `device`."""
        return [
            given
            for setting in rows.SETTINGS
            if device not in setting.devices
            and (given := self.given(setting)) is not None
            and given.value != setting.default
        ]

    def on(self, device: AcceleratorType) -> Values:
        """These values for another device, without those that do not apply to it."""
        lost = {given.name for given in self.without_effect(device)}
        kept = {name: given for name, given in self.by_name.items() if given.name not in lost}
        return Values(kept).having(rows.ACCELERATOR, device)
