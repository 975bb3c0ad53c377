"""200 hostile config.json files: the same in each run, in families, of which --cases takes an equal share."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]

ALL_PRODUCTS = (
    "NVIDIA-B300",
    "NVIDIA-B200",
    "NVIDIA-H200",
    "NVIDIA-H100-80GB-HBM3",
    "NVIDIA-H100-PCIe",
    "NVIDIA-H100-NVL",
    "NVIDIA-A100-SXM4-80GB",
    "NVIDIA-A100-SXM4-40GB",
    "NVIDIA-L40S",
    "NVIDIA-L4",
    "NVIDIA-A10G",
    "Tesla-T4",
)
"""Each asks for an estimate of its own."""
ONE_PRODUCT = ("NVIDIA-H100-80GB-HBM3",)


@dataclasses.dataclass(frozen=True)
class ConfigCase:
    """One hostile model, or several services of it at once."""

    name: str
    family: str
    text: bytes = b""
    """Its config.json."""
    message: str | None = None
    """Instead of it: the whole termination message, as a pod of the tenant's own could leave it."""
    products: tuple[str, ...] = ONE_PRODUCT
    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Merged into the service's spec."""
    services: int = 1
    changes: int = 0
    """How often the spec changes while it is looked at: each asks for a new estimate."""
    restart: bool = False
    """Whether the operator is killed once it knows the model, and has to find it in the status."""


LLAMA: Config = {
    "architectures": ["LlamaForCausalLM"],
    "head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
QWEN_MOE: Config = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "vocab_size": 151936,
}
DEEPSEEK: Config = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129280,
}
NEMOTRON: Config = {
    "architectures": ["NemotronHForCausalLM"],
    "conv_kernel": 4,
    "head_dim": 128,
    "hidden_size": 4096,
    "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-",
    "intermediate_size": 21504,
    "mamba_head_dim": 64,
    "mamba_num_heads": 128,
    "max_position_embeddings": 8192,
    "model_type": "nemotron_h",
    "n_groups": 8,
    "num_attention_heads": 32,
    "num_hidden_layers": 20,
    "num_key_value_heads": 8,
    "ssm_state_size": 128,
    "vocab_size": 131072,
}
GEMMA: Config = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {
        "head_dim": 256,
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "max_position_embeddings": 131072,
        "model_type": "gemma3_text",
        "num_attention_heads": 8,
        "num_hidden_layers": 34,
        "num_key_value_heads": 4,
        "sliding_window": 1024,
        "vocab_size": 262208,
    },
    "vision_config": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
    },
}


def good(**change: Any) -> bytes:
    """An honest model's config.json, with these changes."""
    return dumped(LLAMA | change)


def dumped(config: Mapping[str, Any]) -> bytes:
    """As text; numbers that are none are written as Python does, which reads them too."""
    return json.dumps(config).encode()


def changed(base: Mapping[str, Any], **change: Any) -> bytes:
    """The base's text with these fields in place of its own; a name with ``__`` is one of a level below."""
    config = copy.deepcopy(dict(base))
    for name, value in change.items():
        level, _, field = name.rpartition("__")
        (config[level] if level else config)[field] = value
    return dumped(config)
