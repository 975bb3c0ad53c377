"""Invalid types, nesting, strings and whole messages."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from hostile_parts.configs import GEMMA, LLAMA, NEMOTRON, QWEN_MOE, ConfigCase, changed, dumped, good

DEEP = 100_000
SHALLOW_ENOUGH = 900
"""Levels that Python's own parser takes."""


def cases() -> Iterator[ConfigCase]:
    """54 of them."""
    for name, text in types().items():
        yield ConfigCase(f"type-{name}", "types", text)
    for name, text in depths().items():
        yield ConfigCase(f"depth-{name}", "depth", text)
    for name, text in words().items():
        yield ConfigCase(f"words-{name}", "words", text)
    for name, message in messages().items():
        yield ConfigCase(f"message-{name}", "messages", message=message)


def types() -> Mapping[str, bytes]:
    """Fields of another type than they have."""
    groups: dict[str, Any] = {"quant_method": "compressed-tensors"}
    return {
        "layers-list": good(num_hidden_layers=[32]),
        "layers-text": good(num_hidden_layers="32"),
        "layers-object": good(num_hidden_layers={"a": 1}),
        "heads-nan": good(num_attention_heads=float("nan")),
        "heads-infinite": good(num_attention_heads=float("inf")),
        "unhashable-mlp-only": changed(QWEN_MOE, mlp_only_layers=[[1]]),
        "unhashable-objects": changed(QWEN_MOE, mlp_only_layers=[{"a": {}}] * 1000),
        "mlp-only-nan": changed(QWEN_MOE, mlp_only_layers=[float("nan"), None, "x", 1e400]),
        "mlp-only-many": changed(QWEN_MOE, mlp_only_layers=[*range(9000)]),
        "architectures-text": good(architectures="LlamaForCausalLM"),
        "architectures-numbers": good(architectures=[1, None, {}]),
        "architectures-many": good(architectures=["X" * 200] * 200 + ["LlamaForCausalLM"]),
        "layer-types-objects": changed(NEMOTRON, layer_types=[{}] * 20),
        "pattern-list": changed(NEMOTRON, hybrid_override_pattern=["M"] * 20),
        "text-config-list": changed(GEMMA, text_config=[1]),
        "vision-config-text": changed(GEMMA, vision_config="big"),
        "rope-list": good(rope_scaling=[1, 2], rope_parameters="x"),
        "rope-factor-object": good(rope_scaling={"type": "linear", "factor": {}}),
        "quantization-list": good(quantization_config=["gptq"]),
        "groups-list": good(quantization_config=groups | {"config_groups": [1, 2]}),
        "groups-of-lists": good(quantization_config=groups | {"config_groups": {"g": {"weights": [1]}}}),
        "targets-object": good(quantization_config=groups | {"config_groups": {"g": {"targets": {}, "weights": {}}}}),
        "ignore-numbers": good(quantization_config={"quant_method": "fp8", "ignored_layers": [1, None, [], {}]}),
        "no-rope-layers": changed(QWEN_MOE, no_rope_layers=[[]], partial_rotary_factor="x"),
    }


def depths() -> Mapping[str, bytes]:
    """Levels upon levels."""
    inner = b"[" * SHALLOW_ENOUGH + b"]" * SHALLOW_ENOUGH
    objects = b'{"text_config":' * SHALLOW_ENOUGH + b"{}" + b"}" * SHALLOW_ENOUGH
    base = dumped(LLAMA)[:-1]
    return {
        "arrays": b"[" * DEEP + b"]" * DEEP,
        "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "half-open": b"[" * DEEP,
        "in-a-field": base + b', "rope_scaling": {"factor": ' + b"[" * DEEP + b"]" * DEEP + b"}}",
        "quantization": base + b', "quantization_config": {"quant_method": "fp8", "ignored_layers": ' + inner + b"}}",
        "text-configs": objects,
        "text-configs-of-llama": base + b', "text_config": ' + objects + b"}",
        "mlp-only": dumped(QWEN_MOE)[:-1] + b', "mlp_only_layers": ' + inner + b"}",
    }


def words() -> Mapping[str, bytes]:
    """Text that is not for people's eyes, or not text."""
    return {
        "control": good(architectures=["\x1b[2J\x00\x07LlamaForCausalLM\r\n\u202e"]),
        "long-architecture": good(architectures=["A" * 60_000]),
        "unknown-architecture": good(architectures=["../../etc/passwd\nReady=True"]),
        "surrogates": dumped(LLAMA)[:-1] + b', "model_type": "\\ud800\\udfff\\ud800"}',
        "not-utf-8": b"\xff\xfe{\x00}\x00",
        "byte-order-mark": b"\xef\xbb\xbf" + dumped(LLAMA),
        "empty": b"",
        "not-json": b"<html>",
        "same-key-often": b"{" + b'"num_hidden_layers": 1, ' * 20_000 + b'"num_hidden_layers": 2}',
        "many-keys": dumped(LLAMA | {f"k{n}": n for n in range(50_000)}),
        "digits": dumped(LLAMA)[:-1] + b', "vocab_size": ' + b"9" * 100_000 + b"}",
        "model-type": good(model_type="gemma3" * 9000, mamba_ssm_dtype={"a": 1}),
    }


def messages() -> Mapping[str, str]:
    """What a pod that the tenant made itself can leave as the termination message."""
    facts = {"attentionHeads": 32, "keyValueHeads": 8, "layers": 32, "weightBytes": 1}
    bomb = base64.b64encode(zlib.compress(b" " * (2 << 20), 9)).decode()
    nested = _packed(b"[" * 30_000 + b"]" * 30_000)
    return {
        "bomb": json.dumps(facts | {"configuration": bomb}),
        "nested": json.dumps(facts | {"configuration": nested}),
        "not-packed": json.dumps(facts | {"configuration": "!" * 3000}),
        "numbers": json.dumps(dict.fromkeys(facts, 10**300)),
        "negative": json.dumps(dict.fromkeys(facts, -1) | {"configuration": _packed(dumped(LLAMA))}),
        "brackets": "[" * 4000,
        "error-words": json.dumps(
            {"error": "HubRefused", "message": "\x1b[31m" + "x" * 3000, "field": "a", "fix": "b"}
        ),
        "types": json.dumps({"architecture": 1, "configuration": ["x"]}),
        "nan": json.dumps(facts | {"configuration": _packed(b'{"num_hidden_layers": NaN, "vocab_size": 1e999}')}),
        "digits": '{"layers":' + "9" * 4000 + "}",
    }


def _packed(text: bytes) -> str:
    return base64.b64encode(zlib.compress(text, 9)).decode()
