"""The table of engine settings and the resource's types are one: fields, types and bounds."""

from __future__ import annotations

import re
from typing import Any

import pytest

from builders.services import a_service
from llmservice_contract.choices import EVERY_DEVICE, AcceleratorType
from llmservice_contract.engine_settings import BY_FIELD, BY_VARIABLE, SETTINGS
from llmservice_contract.setting import BadValue, Choice, Document, Names, Setting, Switch, Text, Whole
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts
from llmservice_operator.cli.plan import rules
from llmservice_operator.planner.conditions.accepted import usable_tensors
from llmservice_operator.resources import environment
from support.schema import nodes

FIELDS = {str(node): node.schema for node in nodes()}
COPIED = [row for row in SETTINGS if row.is_copied]
NARROWER = {
    "spec.model.source": "the engine takes paths, and repositories without a scheme",
    "spec.engine.speculative.model": "the same",
    "spec.engine.gpuMemoryUtilization": "a decimal number is a text in the resource, with a rule for its bounds",
    "spec.engine.extraArgs": "names and values are looked up in a table",
    "spec.engine.batchTimeout": "a time is a text in the resource, with a rule for its bound",
}
"""Fields whose type in the resource is another one; tests of their own compare them."""


@pytest.mark.parametrize("row", [row for row in SETTINGS if row.field], ids=lambda row: row.name)
def test_each_row_names_a_field_that_exists(row: Setting[Any]) -> None:
    assert row.field in FIELDS
    assert row.instead == "" or row.instead in BY_FIELD


@pytest.mark.parametrize("row", [row for row in COPIED if row.field not in NARROWER], ids=lambda row: row.name)
def test_a_field_has_the_bounds_of_its_row(row: Setting[Any]) -> None:
    schema = FIELDS[row.field]
    match row:
        case Whole():
            assert (schema["type"], schema["minimum"], schema["maximum"]) == ("integer", row.minimum, row.maximum)
        case Switch():
            assert schema["type"] == "boolean"
        case Choice():
            assert schema["enum"] == list(row.choices)
        case Text():
            assert (schema["type"], schema["maxLength"]) == ("string", row.longest)
            assert schema.get("pattern", "^$") == f"^{row.pattern}$"
        case Document():
            assert (schema["type"], schema["maxLength"]) == ("string", row.longest)
        case Names():
            items = schema["items"]
            assert (schema["maxItems"], items["maxLength"]) == (row.most, row.longest)
            assert items["pattern"] == f"^{row.pattern}$"
        case _:
            pytest.fail(f"{row.field} has no comparison: add it to NARROWER with a test of its own")


@pytest.mark.parametrize("share", ["0", "0.0", "0.001", "0.5", "0.92", "1", "1.0", "1.001", "9.999", "2"])
def test_the_share_of_memory_is_the_same_for_resource_and_engine(share: str) -> None:
    assert _crd_takes({"gpuMemoryUtilization": share}) is _row_takes("spec.engine.gpuMemoryUtilization", share)


@pytest.mark.parametrize("time", ["0ms", "1ms", "60000ms", "60001ms", "99999ms", "60s", "61s", "99999s"])
def test_the_batch_timeout_is_the_same_for_resource_and_engine(time: str) -> None:
    assert _crd_takes({"batchTimeout": time}) is _row_takes("spec.engine.batchTimeout", time)


@pytest.mark.parametrize("field", sorted(set(NARROWER) & {"spec.model.source", "spec.engine.speculative.model"}))
def test_sources_are_as_long_for_resource_and_engine(field: str) -> None:
    row = BY_FIELD[field]
    assert isinstance(row, Text)
    assert FIELDS[field]["maxLength"] == row.longest


@pytest.mark.parametrize("size", [1, 2, 4096, 4097, 0])
def test_the_cache_of_a_cpu_is_the_same_for_resource_and_engine(size: int) -> None:
    service = a_service("chat").on_cpu().with_spec(engine={"kvCacheMemory": f"{size}Gi"}).build()
    assert (not rules.objections(service)[0]) is _row_takes("spec.engine.kvCacheMemory", str(size))


def test_suggested_tensors_are_those_that_the_field_takes() -> None:
    schema = FIELDS["spec.parallelism.tensor"]
    assert usable_tensors(ModelFacts(source="hf://org/name")) == list(range(schema["minimum"], schema["maximum"] + 1))


@pytest.mark.parametrize("row", [row for row in COPIED if row.devices != EVERY_DEVICE], ids=lambda row: row.name)
def test_what_does_not_apply_to_a_device_is_a_rule_of_the_crd(row: Setting[Any]) -> None:
    others = [device for device in AcceleratorType if device not in row.devices]
    (field,) = [schema for path, schema in FIELDS.items() if path == "spec"]
    messages = [rule["message"] for rule in field["x-kubernetes-validations"]]
    about = [text for text in messages if text.startswith(row.field.removeprefix("spec."))]
    assert any(f"accelerator.type {' or '.join(others)}: {row.elsewhere}" in text for text in about)


def test_each_pattern_is_told_in_words() -> None:
    assert not [row.name for row in SETTINGS if isinstance(row, Text | Names) and row.pattern and not row.in_words]


def test_defaults_are_the_same_for_resource_and_engine() -> None:
    """But for the drain: a pod's is as long as a request may take, that of an image that is run by hand is short."""
    variables = environment.engine("chat", LLMServiceSpec.model_validate(a_service("chat").build()["spec"]))
    written = {row: row.parse(variables[row.name]) for row in COPIED if row.name in variables and not row.required}
    assert len(written) > 5
    assert {row.name for row, value in written.items() if row.default not in (None, value)} == {
        "SHUTDOWN_DRAIN_SECONDS"
    }


def test_a_variable_is_named_after_its_field() -> None:
    assert BY_VARIABLE["ENGINE_MAX_NUM_SEQS"].field == "spec.engine.maxNumSeqs"
    for row in COPIED:
        section = re.sub(r"([A-Z])", r"_\1", row.field.removeprefix("spec.")).replace(".", "_").upper()
        assert row.name == section


def _crd_takes(engine: dict[str, str]) -> bool:
    refused, unchecked = rules.objections(a_service("chat").with_spec(engine=engine).build())
    assert not unchecked
    return not refused


def _row_takes(field: str, text: str) -> bool:
    try:
        BY_FIELD[field].parse(text)
    except BadValue:
        return False
    return True
