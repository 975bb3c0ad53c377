"""CEL rules made from the tables of the contract: on settings that do not apply to every device, and on values that
exclude each other."""

from typing import Any

from llmservice_contract.choices import EVERY_DEVICE, AcceleratorType
from llmservice_contract.combinations import COMBINATIONS, Combination
from llmservice_contract.engine_settings import ACCELERATOR, SETTINGS
from llmservice_contract.setting import Setting
from llmservice_operator.api.base import Rule

_TYPE = f"(has(self.accelerator) && has(self.accelerator.type) ? self.accelerator.type : '{ACCELERATOR.default}')"


def device_rules() -> tuple[Rule, ...]:
    """One rule for each field that does not apply to every device: on other devices it must be absent or have its
    default."""
    return tuple(_rule(row) for row in SETTINGS if row.field and row.devices != EVERY_DEVICE)


def combination_rules() -> tuple[Rule, ...]:
    """One rule for each row of ``COMBINATIONS``."""
    return tuple(map(_combination_rule, COMBINATIONS))


def _combination_rule(row: Combination) -> Rule:
    paths = [setting.field.removeprefix("spec.") for setting in row.settings]
    absent = dict.fromkeys(clause for path in paths for clause in _absent(path))
    excluded = row.cel.format(*(f"self.{path}" for path in paths))
    field = f".{paths[0].partition('.')[0]}"
    return Rule(" || ".join((*absent, f"!({excluded})")), row.message.format(*paths), field)


def _rule(row: Setting[Any]) -> Rule:
    path = row.field.removeprefix("spec.")
    default = row.default if row.is_copied else None
    among = ", ".join(f"'{device}'" for device in AcceleratorType if device in row.devices)
    others = " or ".join(device for device in AcceleratorType if device not in row.devices)
    only = "" if default is None else f" other than {default}"
    advice = f"; set {row.instead.removeprefix('spec.')}" if row.instead else ""
    return Rule(
        " || ".join((f"{_TYPE} in [{among}]", *_absent(path), *_equal(path, default))),
        f"{path}{only} is not for accelerator.type {others}: {row.elsewhere}{advice}",
        f".{path.partition('.')[0]}",
    )


def _absent(path: str) -> list[str]:
    """CEL expressions of which one is true if the field at the path is not set."""
    steps = path.split(".")
    return [f"!has(self.{'.'.join(steps[:length])})" for length in range(1, len(steps) + 1)]


def _equal(path: str, value: object) -> list[str]:
    if value is None:
        return []
    return [f"self.{path} == {value if isinstance(value, int) else repr(str(value))}"]
