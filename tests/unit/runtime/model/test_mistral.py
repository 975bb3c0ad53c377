"""Checkpoints with params.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts
from llmservice_contract.mistral_format import as_config, is_params
from llmservice_contract.source import Directory
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.context_length import context_length
from llmservice_runtime.model.inspection import inspect

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
        ({"multimodal": {"vision_encoder_args": {"hidden_size": 1024}}}, "PixtralForConditionalGeneration"),
        ({"multimodal": {"whisper_model_args": {"encoder_args": {"dim": 1}}}}, "VoxtralForConditionalGeneration"),
        ({"multimodal": {"whisper_model_args": {"encoder_args": {"causal": True}}}}, "VoxtralRealtimeGeneration"),
        ({"multimodal": {"whisper_model_args": {"encoder_args": {}}}}, "MistralForCausalLM"),
        ({"model_type": "mamba"}, "Mamba2ForCausalLM"),
        ({"qk_nope_head_dim": 64}, "MistralLarge3ForCausalLM"),
        ({"moe": {"num_experts": 8}}, "MixtralForCausalLM"),
        ({"moe": {"num_experts": 8, "num_shared_experts": 1}}, "MistralLarge3ForCausalLM"),
        ({"moe": "no object", "multimodal": []}, "MistralForCausalLM"),
    ],
)
def test_the_architecture_is_the_one_that_vllm_takes(more: dict[str, Any], architecture: str) -> None:
    assert as_config(PARAMS | more)["architectures"] == [architecture]


def test_a_pattern_of_windows_is_the_layers_of_it() -> None:
    found = as_config(PARAMS | {"sliding_window": [None, 512, 512, 512]})
    assert found["sliding_window"] == 512
    assert found["layer_types"] == ["full_attention", *["sliding_attention"] * 3] * 10
    assert as_config(PARAMS | {"sliding_window": 512})["sliding_window"] == 512


@pytest.mark.parametrize("window", [[], [None], [{}], ["512"], {}, "x", [None] * 100_000])
@pytest.mark.parametrize("layers", [40, 10**12, -1, True, None, "4"])
def test_odd_windows_are_bounded(window: object, layers: object) -> None:
    found = as_config(PARAMS | {"sliding_window": window, "n_layers": layers})
    assert len(found.get("layer_types", ())) <= 4096


def test_weights_in_fp8_are_those_of_the_inspection(tmp_path: Path) -> None:
    quantized = PARAMS | {"quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}}
    assert as_config(quantized)["quantization_config"] == {"quant_method": "fp8", "activation_scheme": "static"}
    (tmp_path / "params.json").write_text(json.dumps(quantized | {"vision_encoder": {"hidden_size": 1024}}))
    facts = inspect(Directory(str(tmp_path)), None)
    assert isinstance(facts, ModelFacts)
    assert (facts.quantization, facts.attention_heads) == ("fp8", 32)


@pytest.mark.parametrize(
    ("lengths", "context"),
    [
        ({}, 128_000),
        ({"max_seq_len": 4096}, 4096),
        ({"max_position_embeddings": 8192, "max_seq_len": 32768}, 8192),
    ],
)
def test_the_smaller_length_is_the_context(lengths: dict[str, int], context: int, tmp_path: Path) -> None:
    assert context_length(Config(as_config(PARAMS | lengths))).default == context
    (tmp_path / "params.json").write_text(json.dumps(PARAMS | lengths))
    facts = inspect(Directory(str(tmp_path)), None)
    assert isinstance(facts, ModelFacts)
    assert facts.max_context_length == context


def test_config_json_is_no_params_json() -> None:
    assert is_params(PARAMS)
    assert not is_params(as_config(PARAMS))
    assert not is_params({"architectures": ["MPTForCausalLM"], "dim": 1, "n_layers": 1})


def test_params_json_that_is_no_json_is_reported(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text("{")
    found = inspect(Directory(str(tmp_path)), None)
    assert isinstance(found, Finding)
    assert "params.json" in found.message
