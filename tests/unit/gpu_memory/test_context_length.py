"""The context length: what vLLM takes if none is set, and the most that it accepts."""

from __future__ import annotations

from typing import Any

import pytest

from llmservice_contract.configuration import relevant
from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.config import Config
from llmservice_operator.gpu_memory.context_length import ContextLength, context_length
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.ledger import Reason, Verdict
from llmservice_operator.gpu_memory.request import Request

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
LONG = {"max_position_embeddings": 131072}


@pytest.mark.parametrize(
    ("fields", "default", "longest"),
    [
        ({}, 2048, 2048),
        (LONG, 131072, 131072),
        ({"max_position_embeddings": 8192, "model_max_length": 131072}, 131072, 131072),  # Command R
        ({"model_type": "phi3", "rope_scaling": {"type": "longrope"}, **LONG}, 4096, 131072),
        ({"rope_scaling": {"type": "su"}, "original_max_position_embeddings": 8192, **LONG}, 8192, 131072),
        (
            {"rope_parameters": {"rope_type": "longrope"}, "original_max_position_embeddings": 4096, **LONG},
            4096,
            131072,
        ),
        ({"rope_scaling": {"rope_type": "longrope", "original_max_position_embeddings": 4096}, **LONG}, 131072, 131072),
        ({"rope_scaling": {"rope_type": "linear", "factor": 4.0}, "max_position_embeddings": 4096}, 16384, 16384),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}, "max_position_embeddings": 4096}, 4096, 4096),
        ({"rope_scaling": {"rope_type": "ntk", "factor": 2.0}, "max_position_embeddings": 4096}, 8192, 8192),
        ({"rope_scaling": {"type": "mrope", "factor": 2.0}, "max_position_embeddings": 4096}, 4096, 4096),
        ({"seq_length": 32768}, 32768, 32768),  # ChatGLM
        ({"max_position_embeddings": 8192, "max_seq_len": 4096}, 4096, 4096),  # the smallest counts
        ({"text_config": {"max_position_embeddings": 8192}, "model_max_length": 16384}, 8192, 16384),
        (
            {"model_type": "gemma3", "text_config": {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, **LONG}},
            131072,
            131072,
        ),
    ],
)
def test_it_is_what_vllm_derives(fields: dict[str, Any], default: int, longest: int) -> None:
    assert context_length(Config(fields)) == ContextLength(default, longest)


def test_all_fields_reach_the_operator() -> None:
    """An inspection passes on a part of config.json."""
    fields = ("seq_length", "seq_len", "max_seq_length", "max_sequence_length", "max_target_positions")
    for field in (*fields, "original_max_position_embeddings"):
        assert relevant({field: 4096})[field] == 4096


def test_a_longrope_model_is_asked_for_its_short_context_and_may_be_set_to_its_long_one() -> None:
    """Phi-3-medium on a GPU whose cache holds 4096 tokens and not 131072."""
    config = {**LLAMA, **LONG, "rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096}
    request = Request(config, gpus.of_memory(22.03))
    found = fit(request)
    assert (found.verdict, found.context) == (Verdict.FITS, 4096)
    assert fit(Request(config, gpus.of_memory(22.03), max_context=131072)).reason is Reason.CACHE_TOO_SMALL
    assert fit(Request(config, gpus.of_memory(80), max_context=131072)).verdict is Verdict.FITS


def test_the_served_length_of_command_r_is_accepted() -> None:
    config = {**LLAMA, "max_position_embeddings": 8192, "model_max_length": 131072}
    assert fit(Request(config, gpus.of_memory(80), max_context=131072)).verdict is Verdict.FITS
    assert fit(Request(config, gpus.of_memory(80), max_context=131073)).reason is Reason.CONTEXT_TOO_LONG
