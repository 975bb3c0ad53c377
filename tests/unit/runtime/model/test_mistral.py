"""Checkpoints with params.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts
from llmservice_contract.source import Directory
from llmservice_runtime.model.inspection import inspect
from llmservice_runtime.model.mistral import as_config

PARAMS = {
    "dim": 5120,
    "n_layers": 40,
    "head_dim": 128,
    "hidden_dim": 14336,
    "n_heads": 32,
    "n_kv_heads": 8,
    "vocab_size": 131072,
}


def test_an_inspection_reads_heads_and_layers_of_params_json(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps(PARAMS))
    (tmp_path / "consolidated.safetensors").write_bytes(b"weights")
    facts = inspect(Directory(str(tmp_path)), None)
    assert isinstance(facts, ModelFacts)
    assert (facts.attention_heads, facts.key_value_heads, facts.layers) == (32, 8, 40)
    assert facts.architecture == "MistralForCausalLM"
    assert facts.max_context_length == 128_000
    assert facts.weight_bytes == len(b"weights")


@pytest.mark.parametrize(
    ("more", "architecture"),
    [
        ({}, "MistralForCausalLM"),
        ({"vision_encoder": {"hidden_size": 1024}}, "PixtralForConditionalGeneration"),
        ({"multimodal": {"whisper_model_args": {"encoder_args": {}}}}, "VoxtralForConditionalGeneration"),
        ({"moe": {"num_experts": 8}}, "MixtralForCausalLM"),
        ({"moe": {"num_experts": 8, "num_shared_experts": 1}}, "MistralLarge3ForCausalLM"),
        ({"moe": "no object", "multimodal": []}, "MistralForCausalLM"),
    ],
)
def test_the_architecture_is_the_one_that_vllm_takes(more: dict[str, Any], architecture: str) -> None:
    assert as_config(PARAMS | more)["architectures"] == [architecture]


def test_params_json_that_is_no_json_is_reported(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text("{")
    found = inspect(Directory(str(tmp_path)), None)
    assert isinstance(found, Finding)
    assert "params.json" in found.message
