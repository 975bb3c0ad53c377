"""Checkpoints in Mistral's own format: params.json in place of config.json, read as vLLM reads it.

The names and defaults are those of vLLM's transformers_utils/configs/mistral.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARAMS = "params.json"
_NAMES = {
    "dim": "hidden_size",
    "n_kv_heads": "num_key_value_heads",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "norm_eps": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings",
}
_SAME = ("head_dim", "vocab_size", "sliding_window", "rope_theta")
_CONTEXT = 128_000
"""Where params.json names none."""


def as_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json would say of the model, as far as the operator and the choice of parsers need it."""
    found = {new: params[old] for old, new in _NAMES.items() if old in params}
    found |= {name: params[name] for name in _SAME if name in params}
    length = params.get("max_position_embeddings") or params.get("max_seq_len") or _CONTEXT
    return found | {"architectures": [_architecture(params)], "max_position_embeddings": length}


def _architecture(params: Mapping[str, Any]) -> str:
    multimodal = params.get("multimodal")
    inner = multimodal if isinstance(multimodal, Mapping) else {}
    moe = params.get("moe")
    if params.get("vision_encoder") or inner.get("vision_encoder_args"):
        return "PixtralForConditionalGeneration"
    if inner.get("whisper_model_args"):
        return "VoxtralForConditionalGeneration"
    if params.get("model_type") == "mamba":
        return "Mamba2ForCausalLM"
    if isinstance(moe, Mapping):
        return "MistralLarge3ForCausalLM" if moe.get("num_shared_experts") else "MixtralForCausalLM"
    return "MistralForCausalLM"
