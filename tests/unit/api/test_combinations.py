"""Values that exclude each other: the CRD's rule, the runtime and the row say the same of each combination."""

import copy
import itertools
from enum import StrEnum
from typing import Any

import pytest

from builders.services import a_service
from llmservice_contract.choices import SpeculativeMethod
from llmservice_contract.combinations import COMBINATIONS, Combination
from llmservice_contract.engine_settings import SPECULATIVE_METHOD
from llmservice_contract.setting import Choice, Setting, Switch
from llmservice_operator.cli.plan.rules import objections
from llmservice_runtime.launcher.settings import WrongSettings, read_settings


def choices(setting: Setting[Any]) -> tuple[Any, ...]:
    if setting is SPECULATIVE_METHOD:
        return (None, SpeculativeMethod.NGRAM)
    if isinstance(setting, Choice):
        return (None, *setting.choices)
    return (None, False, True) if isinstance(setting, Switch) else (None, 1, 2, 16, 17, 64)


CASES = [
    pytest.param(row, values, id=f"{row.settings[0].name}-{values}")
    for row in COMBINATIONS
    for values in itertools.product(*map(choices, row.settings))
    if all(
        value is None or isinstance(value, bool | StrEnum) or setting.minimum <= value <= setting.maximum
        for setting, value in zip(row.settings, values, strict=True)
    )
]


def service(row: Combination, values: tuple[Any, ...]) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(dict(a_service().build()))
    for setting, value in zip(row.settings, values, strict=True):
        *above, last = setting.field.split(".")
        below = made
        for step in above:
            below = below.setdefault(step, {})
        if value is not None:
            below[last] = value
        elif not below:
            _without(made, above)
    return made


def _without(made: dict[str, Any], path: list[str]) -> None:
    for step in path[:-1]:
        made = made[step]
    made.pop(path[-1], None)


@pytest.mark.parametrize(("row", "values"), CASES)
def test_all_say_the_same(row: Combination, values: tuple[Any, ...]) -> None:
    excluded = None not in values and row.excludes(*values)
    message = row.message.format(*(setting.field.removeprefix("spec.") for setting in row.settings))
    refused, notes = objections(service(row, values))
    assert not notes
    assert any(message in each.message for each in refused) == excluded
    environ = {
        setting.name: setting.text(value)
        for setting, value in zip(row.settings, values, strict=True)
        if value is not None
    }
    try:
        read_settings({"MODEL_SOURCE": "org/name", **environ})
        found = ""
    except WrongSettings as error:
        found = str(error)
    assert (row.message.partition("{1}")[0].replace("{0}", "").strip() in found) == excluded


def test_the_cases_are_of_both_kinds() -> None:
    kinds = {row.message: set[bool]() for row in COMBINATIONS}
    for case in CASES:
        row, values = case.values
        kinds[row.message].add(None not in values and row.excludes(*values))
    assert set(map(frozenset, kinds.values())) == {frozenset((True, False))}
