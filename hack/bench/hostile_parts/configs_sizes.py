"""Sizes and counts: invalid ones, too large ones, and ones that multiply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hostile_parts.configs import ALL_PRODUCTS, DEEPSEEK, GEMMA, LLAMA, NEMOTRON, QWEN_MOE, ConfigCase, changed

NUMBERS: Mapping[str, Any] = {
    "2-to-31": 1 << 31,
    "2-to-63": 1 << 63,
    "10-to-400": 10**400,
    "largest": 1 << 24,
    "negative": -1,
    "zero": 0,
    "half": 0.5,
    "huge-float": 1e308,
    "true": True,
}
FIELDS = ("num_hidden_layers", "num_attention_heads", "hidden_size")


def cases() -> Iterator[ConfigCase]:
    """60 of them."""
    for field in FIELDS:
        for name, value in NUMBERS.items():
            yield ConfigCase(f"{field.replace('_', '-')}-{name}", "sizes", changed(LLAMA, **{field: value}))
    for count in (127, 256, 257, 1024, 2048, 2049):
        yield ConfigCase(f"layers-{count}", "sizes", changed(LLAMA, num_hidden_layers=count), products=ALL_PRODUCTS)
    for name, text in products().items():
        yield ConfigCase(f"product-{name}", "sizes", text, products=ALL_PRODUCTS)
    for name, quantization in quantized().items():
        yield ConfigCase(f"quantized-{name}", "sizes", changed(LLAMA, quantization_config=quantization))


def products() -> Mapping[str, bytes]:
    """Counts that are fine alone, and not together."""
    return {
        "layers-and-experts": changed(QWEN_MOE, num_hidden_layers=2048, num_experts=1 << 20),
        "experts": changed(QWEN_MOE, num_experts=1 << 24),
        "experts-of-deepseek": changed(DEEPSEEK, n_routed_experts=1 << 24, num_hidden_layers=2048),
        "shared-experts": changed(DEEPSEEK, n_shared_experts=1 << 24),
        "vision-layers": changed(GEMMA, vision_config__num_hidden_layers=1 << 20),
        "vision-layers-2048": changed(
            GEMMA, vision_config__num_hidden_layers=2048, text_config__num_hidden_layers=2048
        ),
        "hybrid-2048": changed(NEMOTRON, num_hidden_layers=2048, hybrid_override_pattern="M*-E" * 512),
        "hybrid-pattern": changed(NEMOTRON, hybrid_override_pattern="M" * 60_000),
        "layer-types": changed(GEMMA, text_config__layer_types=["sliding_attention"] * 2500),
        "layer-types-2048": changed(
            LLAMA, num_hidden_layers=2048, layer_types=["sliding_attention", "full_attention"] * 1024, sliding_window=3
        ),
        "windows": changed(GEMMA, text_config__sliding_window=1 << 24, text_config__sliding_window_pattern=1 << 24),
        "predicted-layers": changed(DEEPSEEK, num_nextn_predict_layers=1 << 24),
        "context": changed(LLAMA, max_position_embeddings=1 << 24, rope_scaling={"type": "dynamic", "factor": 1e4}),
        "context-negative": changed(LLAMA, rope_scaling={"type": "linear", "factor": -1e308}),
        "words": changed(LLAMA, vocab_size=1 << 24, hidden_size=1 << 24),
    }


def quantized() -> Mapping[str, dict[str, Any]]:
    """Nonsense in the numbers of each method."""
    weights = {"num_bits": 8, "strategy": "group", "group_size": 1 << 63}
    block = {"num_bits": 8, "strategy": "block", "block_structure": [0, -1]}
    return {
        "gptq-bits": {"quant_method": "gptq", "bits": 10**400},
        "gptq-group": {"quant_method": "gptq", "bits": 4, "group_size": -(1 << 63)},
        "gptq-zero-bits": {"quant_method": "gptq", "bits": 0},
        "awq-group": {"quant_method": "awq", "bits": 4, "group_size": 1 << 20},
        "fp8-block": {"quant_method": "fp8", "weight_block_size": [1 << 63, 1]},
        "fp8-block-of-one": {"quant_method": "fp8", "weight_block_size": [1, 1]},
        "fp8-blocks": {"quant_method": "fp8", "weight_block_size": [128] * 10_000},
        "tensors-group": {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": weights}}},
        "tensors-block": {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": block}}},
        "tensors-groups": {
            "quant_method": "compressed-tensors",
            "config_groups": {f"g{n}": {"targets": [f"x{n}"], "weights": {"num_bits": 4}} for n in range(900)},
        },
        "tensors-cache": {
            "quant_method": "compressed-tensors",
            "config_groups": {"g": {"weights": {"num_bits": 8}}},
            "kv_cache_scheme": {"num_bits": 1 << 40},
        },
        "modelopt-cache": {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "X" * 9000},
    }
