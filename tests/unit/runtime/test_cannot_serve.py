"""What the runtime refuses names the field that is to be changed; nothing is read out of its text."""

from __future__ import annotations

import pytest

from llmservice_contract import causes
from llmservice_contract import engine_settings as rows
from llmservice_contract.quantization import Storage
from llmservice_runtime.cannot_serve import CannotServe
from llmservice_runtime.launcher.settings import WrongSettings, read_settings
from llmservice_runtime.model.checkpoint import WrongCheckpoint, quantization_flag
from llmservice_runtime.vllm_plugins.api_server import PluginMissing

GOOD = {rows.MODEL_SOURCE.name: "hf://org/name"}
FIELDS: dict[str, tuple[dict[str, str], str]] = {
    "a value that is not allowed": ({rows.TENSOR_PARALLEL.name: "0"}, "spec.parallelism.tensor"),
    "a value under an old name": ({"TENSOR_PARALLEL_SIZE": "0"}, "spec.parallelism.tensor"),
    "a source": ({rows.MODEL_SOURCE.name: "ftp://x"}, "spec.model.source"),
    "the first of several problems that a field sets": (
        {rows.PORT.name: "0", rows.MAX_CONTEXT_LENGTH.name: "0"},
        "spec.model.maxContextLength",
    ),
    "an unequal part for each node": (
        {rows.TENSOR_PARALLEL.name: "3", rows.NODES_PER_REPLICA.name: "2", rows.MASTER_ADDRESS.name: "a"},
        "spec.parallelism.nodesPerReplica",
    ),
    "a draft without a method": (
        {rows.SPECULATIVE_MODEL.name: "hf://org/small"},
        "spec.engine.speculative.model",
    ),
    "a step that is too short": (
        {rows.MAX_NUM_BATCHED_TOKENS.name: "64", rows.MAX_NUM_SEQS.name: "128"},
        "spec.engine.maxNumBatchedTokens",
    ),
    "what no field sets": ({rows.METRICS_PORT_ROW.name: str(rows.PORT.default)}, ""),
}


def wrong(environ: dict[str, str]) -> WrongSettings:
    with pytest.raises(WrongSettings) as caught:
        read_settings({**GOOD, **environ})
    return caught.value


@pytest.mark.parametrize("name", FIELDS)
def test_wrong_settings_know_the_field_to_change(name: str) -> None:
    environ, field = FIELDS[name]
    found = wrong(environ).diagnosis(causes.WRONG_SETTINGS).finding
    assert (found.reason, found.field) == ("WrongSettings", field)
    assert bool(found.fix) == bool(field)


def test_a_checkpoint_of_another_kind_knows_the_field_to_change() -> None:
    with pytest.raises(WrongCheckpoint) as caught:
        quantization_flag("awq", Storage())
    found = caught.value.diagnosis(causes.WRONG_CHECKPOINT).finding
    assert found.field == "spec.quantization.method"
    assert "set spec.quantization.method to auto" in found.fix.lower()


@pytest.mark.parametrize("kind", [PluginMissing, WrongSettings, WrongCheckpoint, CannotServe])
def test_a_variable_in_a_text_is_no_field(kind: type[CannotServe]) -> None:
    """An error of another package may name anything."""
    error = CannotServe.__new__(kind)
    CannotServe.__init__(error, f"ImportError: {rows.TENSOR_PARALLEL.name} is not defined")
    assert error.diagnosis(causes.NO_ENGINE).finding.field == ""
