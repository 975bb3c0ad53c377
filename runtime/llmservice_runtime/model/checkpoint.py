"""How a checkpoint is quantized, and whether it matches QUANTIZATION_METHOD.

Pure: its input is what `model_files` has loaded. vLLM detects the method of a checkpoint by itself, so a matching
method needs no flag. The only quantization that it applies while loading is fp8 for 16-bit weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmservice_contract import engine_settings as rows
from llmservice_runtime.cannot_serve import CannotServe

LLM_COMPRESSOR = "make one with llm-compressor ({scheme}), or choose a model that has one"
HOW_TO_GET = {
    "int8": LLM_COMPRESSOR.format(scheme="scheme W8A8"),
    "int4": LLM_COMPRESSOR.format(scheme="scheme W4A16"),
    "awq": "choose a model whose weights are stored so, often named …-AWQ",
    "gptq": "choose a model whose weights are stored so, often named …-GPTQ",
    "none": "choose the model's 16-bit weights, or auto to take these as they are",
    "fp8": "choose a 16-bit or fp8 model, or auto to take this one as it is",
}
WANTED = {
    "int8": "a compressed-tensors checkpoint of 8-bit integers",
    "int4": "a compressed-tensors checkpoint of 4-bit integers",
    "awq": "an awq checkpoint",
    "gptq": "a gptq checkpoint",
    "none": "a 16-bit checkpoint",
    "fp8": "a 16-bit or fp8 checkpoint",
}
FOUR_BITS = {"awq", "gptq", "int4"}
"""Methods and formats for which vLLM 0.32 has CPU kernels only in its build for AVX-512. Without AVX-512 it still
starts,
reports that it is healthy, and exits at the first request."""


class WrongCheckpoint(CannotServe):
    """The checkpoint does not match QUANTIZATION_METHOD, or can't be served on this device; the text says why and what
    to
    do."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The quantization method in the checkpoint's configuration; None for weights that are not quantized.

    `formats` are the number formats of its weights, if the method has several: "int8", "int4", "float8", ….
    """

    method: str | None = None
    formats: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.method is None:
            return "not quantized"
        return f"{self.method} ({', '.join(self.formats)})" if self.formats else self.method


def storage(config: Mapping[str, Any]) -> Storage:
    """How the weights are stored, according to config.json."""
    quantization = _quantization(config)
    if quantization is None:
        return Storage()
    method = str(quantization.get("quant_method") or "").lower().replace("_", "-")
    if method.startswith("modelopt"):
        method = "modelopt"
    groups = quantization.get("config_groups")
    formats = tuple(dict.fromkeys(_formats(groups))) if isinstance(groups, Mapping) else ()
    return Storage(method or "an unnamed method", formats)


def quantization_flag(mode: str, stored: Storage) -> str | None:
    """The value of vLLM's --quantization for `mode` and these weights; None for no flag.

    Raises WrongCheckpoint if the mode does not match the weights.
    """
    fits = {
        "auto": True,
        "none": stored.method is None,
        "fp8": stored.method in (None, "fp8", "fbgemm-fp8") or _is(stored, "float8"),
        "int8": _is(stored, "int8"),
        "int4": _is(stored, "int4"),
        "awq": stored.method == "awq",
        "gptq": stored.method == "gptq",
    }
    if not fits[mode]:
        raise WrongCheckpoint(
            f"QUANTIZATION_METHOD={mode} needs {WANTED[mode]}, but the model's config.json says that it is {stored}: "
            f"{HOW_TO_GET[mode]}.",
            rows.QUANTIZATION.field,
        )
    return "fp8" if mode == "fp8" and stored.method is None else None


def check_on_cpu(stored: Storage, flag: str | None, *, avx512: bool) -> None:
    """Raises WrongCheckpoint if vLLM on a CPU, with or without AVX-512, has no kernel for such weights."""
    if flag == "fp8":
        raise WrongCheckpoint(
            "QUANTIZATION_METHOD=fp8 of a 16-bit checkpoint is not allowed with ACCELERATOR_TYPE=cpu: vLLM 0.32 can't "
            "quantize there while loading. Choose weights that are stored in fp8, or auto to take these as they are.",
            rows.QUANTIZATION.field,
        )
    if not avx512 and FOUR_BITS & {stored.method, *stored.formats}:
        raise WrongCheckpoint(
            f"The model's config.json says that it is {stored}, which vLLM 0.32 serves on a CPU only with AVX-512, and "
            "this node's processor has none: choose the model's 16-bit weights or an int8 or fp8 checkpoint, or a node "
            "with AVX-512."
        )


def _is(stored: Storage, number_format: str) -> bool:
    return stored.method == "compressed-tensors" and stored.formats == (number_format,)


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping):
            for key in ("quantization_config", "compression_config"):
                if isinstance(part.get(key), Mapping):
                    found: Mapping[str, Any] = part[key]
                    return found
    return None


def _formats(groups: Mapping[str, Any]) -> Iterator[str]:
    for group in groups.values():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            yield f"{weights.get('type', 'int')}{weights.get('num_bits', '?')}"
