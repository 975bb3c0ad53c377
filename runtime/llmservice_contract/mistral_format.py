"""Checkpoints in Mistral's own format: params.json in place of config.json, read as vLLM reads it.

Names, defaults and the choice of the architecture are those of vLLM's transformers_utils/configs/mistral.py;
tests/engine/test_fit.py compares the two. params.json is untrusted: a value of a wrong type is passed on or
left out, and the reader of the configuration reports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARAMS = "params.json"
_RENAMED = {
    "dim": "hidden_size",
    "n_kv_heads": "num_key_value_heads",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "norm_eps": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings",
}
_SAME = (
    *("head_dim", "vocab_size", "rope_theta", "dtype"),
    *("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
)
_EXPERTS = {
    "route_every_n": "moe_layer_freq",
    "first_k_dense_replace": "first_k_dense_replace",
    "num_experts_per_tok": "num_experts_per_tok",
    "num_experts": "n_routed_experts",
    "expert_hidden_dim": "moe_intermediate_size",
    "num_shared_experts": "n_shared_experts",
}
_YARN = {
    "factor": "factor",
    "original_max_position_embeddings": "original_max_position_embeddings",
    "beta": "beta_fast",
    "alpha": "beta_slow",
}
_CONTEXT = 128_000
"""Where params.json names none."""
_MOST_LAYERS = 1 << 12
"""A pattern of windows is not repeated beyond this."""


def is_params(document: Mapping[str, Any]) -> bool:
    """Whether the JSON is a params.json and no config.json."""
    return "dim" in document and "n_layers" in document and "architectures" not in document


def as_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json would say of the model, as far as the operator, the estimate and the parsers need it."""
    text = _text(params)
    inner = _part(params, "multimodal")
    quantization = {key: text[key] for key in ("quantization_config",) if key in text}
    if vision := inner.get("vision_encoder_args") or params.get("vision_encoder"):
        sizes = {"vision_config": dict(vision)} if isinstance(vision, Mapping) else {}
        return _outer("pixtral", "PixtralForConditionalGeneration", text) | sizes | quantization
    if encoder := _part(_part(inner, "whisper_model_args"), "encoder_args"):
        name = "VoxtralRealtimeGeneration" if encoder.get("causal") else "VoxtralForConditionalGeneration"
        return _outer("voxtral", name, text) | quantization
    return text


def _outer(kind: str, architecture: str, text: Mapping[str, Any]) -> dict[str, Any]:
    return {"model_type": kind, "architectures": [architecture], "text_config": dict(text)}


def _text(params: Mapping[str, Any]) -> dict[str, Any]:
    """The language model."""
    found = {new: params[old] for old, new in _RENAMED.items() if old in params}
    found |= {name: params[name] for name in _SAME if params.get(name) is not None}
    found |= {"model_type": params.get("model_type") or "transformer"}
    found |= _context(params) | _windows(params) | _rotary(params) | _quantization(params)
    experts = params.get("moe")
    latent = bool(params.get("qk_nope_head_dim"))
    if params.get("model_type") == "mamba":
        return found | {"architectures": ["Mamba2ForCausalLM"]}
    if latent and not experts:
        layers, inner = params.get("n_layers"), params.get("hidden_dim")
        experts = {
            "num_experts": 1,
            "first_k_dense_replace": layers,
            "route_every_n": 1,
            "num_shared_experts": 1,
            "expert_hidden_dim": inner,
            "num_experts_per_tok": 1,
        }
    if not experts or not isinstance(experts, Mapping):
        return found | {"architectures": ["MistralForCausalLM"]}
    if not experts.get("num_shared_experts"):
        return found | {"architectures": ["MixtralForCausalLM"]}
    found |= {new: experts[old] for old, new in _EXPERTS.items() if experts.get(old) is not None}
    return found | {"architectures": ["MistralLarge3ForCausalLM"], "model_type": "deepseek_v3"}


def _context(params: Mapping[str, Any]) -> dict[str, Any]:
    """Of its two names vLLM takes the smaller number; the table of rotary embeddings has max_position_embeddings."""
    length = params.get("max_position_embeddings") or _CONTEXT
    return {"max_position_embeddings": length, "max_seq_len": params.get("max_seq_len") or length}


def _windows(params: Mapping[str, Any]) -> dict[str, Any]:
    """A list is a pattern that the layers repeat; null in it is a layer without a window."""
    window, layers = params.get("sliding_window"), params.get("n_layers")
    if not isinstance(window, list):
        return {"sliding_window": window} if window else {}
    if not window or not isinstance(layers, int) or not len(window) <= layers <= _MOST_LAYERS:
        return {}
    kinds = ["full_attention" if each is None else "sliding_attention" for each in window]
    one = next((each for each in window if each), None)
    return {"layer_types": kinds * (layers // len(kinds)), "sliding_window": one}


def _rotary(params: Mapping[str, Any]) -> dict[str, Any]:
    yarn = _part(params, "yarn")
    if not yarn:
        return {}
    return {"rope_parameters": {"rope_type": "yarn", **{_YARN[key]: yarn[key] for key in _YARN if key in yarn}}}


def _quantization(params: Mapping[str, Any]) -> dict[str, Any]:
    stored = _part(params, "quantization")
    if stored.get("qformat_weight") == "fp8_e4m3":
        scheme = "dynamic" if stored.get("qscheme_act") == "NO_SCALES" else "static"
        return {"quantization_config": {"quant_method": "fp8", "activation_scheme": scheme}}
    if not stored:
        return {}
    method = str(stored.get("quant_method", "")).lower().replace("_", "-")
    return {"quantization_config": {**stored, "quant_method": method}}


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}
