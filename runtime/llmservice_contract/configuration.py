"""The part of a model's config.json that its memory use depends on, as an inspection reports it to the operator.

It is part of a termination message, so it is compressed: config.json may list hundreds of unquantized modules.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from llmservice_contract.foreign import read_json

LEVELS = ("text_config", "llm_config", "language_config", "vision_config")
"""Parts of config.json that describe models in it."""

FIELDS = frozenset(
    (
        "architectures",
        "attention_bias",
        "attention_chunk_size",
        "attention_head_dim",
        "attn_output_gate",
        "bias",
        "conv_kernel",
        "d_model",
        "decoder_sparse_step",
        "depth",
        "dtype",
        "embed_dim",
        "enable_bias",
        "expand",
        "ffn_dim",
        "first_k_dense_replace",
        "full_attention_interval",
        "head_dim",
        "hidden_size",
        "hybrid_override_pattern",
        "interleave_moe_layer_step",
        "intermediate_size",
        "intermediate_size_mlp",
        "kv_lora_rank",
        "layer_types",
        "layers",
        "layers_block_type",
        "linear_conv_kernel_dim",
        "linear_key_head_dim",
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "lm_head_bias",
        "mamba_conv_bias",
        "mamba_d_conv",
        "mamba_d_head",
        "mamba_d_state",
        "mamba_head_dim",
        "mamba_n_groups",
        "mamba_n_heads",
        "mamba_num_heads",
        "mamba_proj_bias",
        "mamba_ssm_cache_dtype",
        "mamba_ssm_dtype",
        "max_position_embeddings",
        "max_seq_len",
        "max_seq_length",
        "max_sequence_length",
        "max_target_positions",
        "mlp_bias",
        "mlp_only_layers",
        "model_max_length",
        "model_type",
        "moe_intermediate_size",
        "moe_k",
        "moe_latent_size",
        "moe_layer_end_index",
        "moe_layer_freq",
        "moe_layer_interval",
        "moe_layer_start_index",
        "moe_num_experts",
        "moe_num_shared_experts",
        "moe_shared_expert_intermediate_size",
        "moe_topk",
        "mtp_num_hidden_layers",
        "n_embd",
        "n_groups",
        "n_head",
        "n_inner",
        "n_layer",
        "n_positions",
        "n_routed_experts",
        "n_shared_experts",
        "no_rope_layer_interval",
        "no_rope_layers",
        "num_attention_heads",
        "num_experts",
        "num_experts_per_tok",
        "num_experts_per_token",
        "num_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "num_kv_heads",
        "num_layers",
        "num_local_experts",
        "num_nextn_predict_layers",
        "original_max_position_embeddings",
        "partial_rotary_factor",
        "position_embedding_type",
        "q_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "qkv_bias",
        "rope_local_base_freq",
        "rope_parameters",
        "rope_scaling",
        "rotary_dim",
        "seq_len",
        "seq_length",
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "sliding_window",
        "sliding_window_pattern",
        "ssm_state_size",
        "state_size",
        "tie_word_embeddings",
        "topk_method",
        "torch_dtype",
        "use_bias",
        "use_conv_bias",
        "use_qk_norm",
        "use_qkv_bias",
        "use_routing_bias",
        "use_sliding_window",
        "v_head_dim",
        "vocab_size",
        "width",
    )
)
"""Fields of one level."""

QUANTIZATION = ("quantization_config", "compression_config")
MOST_BYTES = 64 << 10
"""Maximum size as JSON, in bytes."""
MOST_PACKED = 3000
"""Maximum length when compressed, in characters. A termination message can hold more."""


class NotAConfiguration(ValueError):
    """The text is not a result of ``packed``."""


def relevant(config: Mapping[str, Any]) -> dict[str, Any]:
    """The relevant part of a whole config.json."""
    found = {key: value for key, value in config.items() if key in FIELDS}
    found |= {key: relevant(value) for key in LEVELS if isinstance(value := config.get(key), Mapping)}
    return found | {key: value for key in QUANTIZATION if isinstance(value := config.get(key), Mapping)}


def packed(config: Mapping[str, Any]) -> str | None:
    """The part as compressed text; None if it is too long for a termination message."""
    text = json.dumps(config, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > MOST_BYTES:
        return None
    short = base64.b64encode(zlib.compress(text, 9)).decode()
    return short if len(short) <= MOST_PACKED else None


def unpacked(text: str) -> dict[str, Any]:
    """The input of ``packed``. Raises NotAConfiguration."""
    try:
        stream = zlib.decompressobj()
        raw = stream.decompress(base64.b64decode(text[: MOST_PACKED + 1], validate=True), MOST_BYTES + 1)
        found = read_json(raw.decode(), most=MOST_BYTES) if stream.eof and len(raw) <= MOST_BYTES else None
    except (ValueError, zlib.error):
        found = None
    if not isinstance(found, dict):
        raise NotAConfiguration("the text is not a compressed configuration")
    return found
