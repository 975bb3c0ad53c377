"""Patterns in quantization_config that could make a matcher use unlimited time or memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hostile_parts.configs import ALL_PRODUCTS, DEEPSEEK, GEMMA, LLAMA, QWEN_MOE, Config, ConfigCase, changed

EXPONENTIAL: Mapping[str, str] = {
    "words": r"(\w+\.?)+!",
    "same-twice": r"(\w|\w)*!",
    "all-of-all": r"(.*)*!",
    "some-of-some": r"(.+)+!",
    "stars-three-deep": r"(((\w*)*)*)*!",
    "optional-end": r"(\w+\.?\w*)+!",
    "classes": r"([a-z.]+|[a-z0-9_]+)+!",
    "lazy": r"(\w+?\.??)+?!",
    "not-captured": r"(?:\w+\.?)+!",
    "named": r"(?P<a>\w+\.?)+!",
    "look-ahead": r"(?=(\w+\.?)+!)",
    "look-behind-after": r"(\w+\.?)+(?<=!)",
    "ignore-case": r"(?i:(\w+\.?)+!)",
    "counted": r"(\w{1,9}\.?){1,30}!",
    "overlap": r"(a|b|\w|[a-z]|\.)+!",
}
POLYNOMIAL: Mapping[str, str] = {
    "all-ten-times": ".*" * 10 + "!",
    "all-a-hundred-times": ".*" * 100 + "!",
    "word-ten-times": r"\w*\.?" * 10 + "!",
    "lazy-ten-times": ".*?" * 10 + "!",
    "optional-letters": "m?" * 200 + "m" * 200,
}
BACK: Mapping[str, str] = {
    "twice": r"(.*)(.*)\1\2!",
    "named": r"(?P<x>.*)(?P=x).*(?P=x)!",
    "inside": r"(\w*\1?)*!",
    "conditional": r"(a)?(?(1)b|c)(\w+\.?)+!",
}
COUNTED: Mapping[str, str] = {
    "beyond-any-number": "a{99999999999}",
    "product": "((a{1000}){1000}){1000}",
    "of-nothing": "(){4294967294}",
    "wide": "(.{0,65000}){0,65000}!",
    "groups": "(((((.{1,50}){1,50}){1,50}){1,50}){1,50})!",
}
BROKEN: Mapping[str, str] = {
    "open-groups": "(" * 400,
    "open-class": "[" * 400,
    "open-count": "a{1," * 100,
    "escape-at-end": "model\\",
    "bad-flags": "(?z)model",
    "unknown-class": r"\p{L}+",
    "null": "model\0.*",
    "surrogate": "model\ud800.*",
    "deep-groups": "(?:" * 160 + "a" + ")*" * 160,
    "empty": "",
}


def cases() -> Iterator[ConfigCase]:
    """70 of them."""
    for kind, patterns in (
        ("exponential", EXPONENTIAL),
        ("polynomial", POLYNOMIAL),
        ("backreference", BACK),
        ("counted", COUNTED),
        ("broken", BROKEN),
    ):
        for name, pattern in patterns.items():
            yield ConfigCase(f"pattern-{kind}-{name}", "patterns", of_ignored([f"re:{pattern}"]))
    evil = EXPONENTIAL["words"]
    for where, quantization in everywhere(evil).items():
        yield ConfigCase(f"pattern-in-{where}", "patterns", changed(LLAMA, quantization_config=quantization))
    inner = everywhere(evil)["targets"]
    yield ConfigCase("pattern-in-compression-config", "patterns", changed(LLAMA, compression_config=inner))
    yield ConfigCase("pattern-in-text-config", "patterns", changed(GEMMA, text_config__quantization_config=inner))
    yield ConfigCase(
        "pattern-with-multimodal-names",
        "patterns",
        of_ignored(["re:" + "language_model." * 400 + evil, "model.language_model." * 900], GEMMA),
    )
    for name, listed in many().items():
        yield ConfigCase(f"patterns-many-{name}", "patterns", of_ignored(listed), products=ALL_PRODUCTS)
    yield ConfigCase(
        "patterns-many-of-experts",
        "patterns",
        of_ignored([f"*a*{n}*c*" for n in range(300)], QWEN_MOE),
        products=ALL_PRODUCTS,
    )
    yield ConfigCase(
        "patterns-many-dynamic",
        "patterns",
        changed(
            LLAMA,
            quantization_config={
                "quant_method": "gptq",
                "bits": 4,
                "dynamic": {f"+:.*{n}.*{n}.*": {"bits": 8} for n in range(500)},
            },
        ),
        products=ALL_PRODUCTS,
    )
    yield ConfigCase(
        "patterns-many-of-deepseek",
        "patterns",
        changed(
            DEEPSEEK,
            quantization_config={"quant_method": "fp8", "modules_to_not_convert": [f"*{n}*a*" for n in range(1000)]},
        ),
        products=ALL_PRODUCTS,
    )


def of_ignored(patterns: list[str], base: Config = LLAMA) -> bytes:
    """A checkpoint of llm-compressor that leaves these out."""
    group = {"targets": ["Linear"], "weights": {"num_bits": 8}}
    return changed(
        base,
        quantization_config={
            "quant_method": "compressed-tensors",
            "config_groups": {"g": group},
            "ignore": patterns,
        },
    )


def everywhere(pattern: str) -> Mapping[str, dict[str, Any]]:
    """The same pattern wherever a method takes one."""
    star = "*" + "*.*".join(["model", "layers", "self", "attn", "q", "proj"]) + "*!"
    return {
        "targets": {
            "quant_method": "compressed-tensors",
            "config_groups": {"g": {"targets": [f"re:{pattern}"], "weights": {"num_bits": 8}}},
        },
        "second-group": {
            "quant_method": "compressed-tensors",
            "config_groups": {
                f"g{n}": {"targets": [f"re:{'.' * n}{pattern}"], "weights": {"num_bits": 4}} for n in range(20)
            },
        },
        "gptq-dynamic": {"quant_method": "gptq", "bits": 4, "dynamic": {f"+:{pattern}": {"bits": 8}}},
        "gptq-skipped": {"quant_method": "gptq", "bits": 4, "dynamic": {f"-:{pattern}": {}}},
        "gptq-modules": {"quant_method": "gptq", "bits": 4, "modules_to_not_convert": [f"re:{pattern}"]},
        "awq-modules": {"quant_method": "awq", "bits": 4, "modules_to_not_convert": [f"re:{pattern}"]},
        "fp8-ignored": {"quant_method": "fp8", "ignored_layers": [f"re:{pattern}"]},
        "fp8-modules": {"quant_method": "fp8", "modules_to_not_convert": [f"re:{pattern}"]},
        "fbgemm": {"quant_method": "fbgemm_fp8", "modules_to_not_convert": [f"re:{pattern}"]},
        "modelopt": {"quant_method": "modelopt", "quant_algo": "FP8", "exclude_modules": [f"re:{pattern}"]},
        "modelopt-star": {"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": [star]},
        "mxfp4": {"quant_method": "mxfp4", "modules_to_not_convert": [f"re:{pattern}"]},
        "unknown-method": {"quant_method": pattern, "ignore": [f"re:{pattern}"]},
    }


def many() -> Mapping[str, list[str]]:
    """Lists that are long, or whose items are."""
    return {
        "stars": [f"*a*b*{n}*" for n in range(1000)],
        "stars-4000": ["*a*b*c*"] * 4000,
        "stars-in-one": ["*" * 60_000],
        "letters-in-one": ["*a" * 30_000],
        "anything": [f"re:.*{n}.*" for n in range(2000)],
        "literals": [f"model.layers.{n}.mlp" for n in range(3000)],
        "exponential": [f"re:{'.' * (n % 30)}{pattern}" for n, pattern in enumerate([*EXPONENTIAL.values()] * 10)],
        "empty": [""] * 9000,
        "prefix": ["re:"] * 9000,
        "alternatives": ["re:" + "|".join(f"a{n}" for n in range(8000))],
        "one-long-literal": ["m" * 60_000],
        "literal-of-dots": ["." * 60_000],
    }
