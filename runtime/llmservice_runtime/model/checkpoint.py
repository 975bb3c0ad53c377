"""How a checkpoint is quantized, whether it matches QUANTIZATION_METHOD, and whether the device has kernels for it.

Pure: its input is what `model_files` has loaded. vLLM detects the method of a checkpoint by itself, so a matching
method needs no flag. The only quantization that it applies while loading is fp8 for 16-bit weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmservice_contract import engine_settings as rows
from llmservice_contract.quantization import HOW_TO_STORE, Storage
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
FOUR_BITS = {"awq", "gptq", "int4"}
"""Methods and formats for which vLLM 0.32 has CPU kernels only in its build for AVX-512. Without AVX-512 it still
starts,
reports that it is healthy, and exits at the first request."""


class WrongCheckpoint(CannotServe):
    """The checkpoint does not match QUANTIZATION_METHOD, or can't be served on this device; the text says why and what
    to do."""


def quantization_flag(mode: str, stored: Storage) -> str | None:
    """The value of vLLM's --quantization for `mode` and these weights; None for no flag.

    Raises WrongCheckpoint if the mode does not match the weights.
    """
    if not stored.accepts(mode):
        raise WrongCheckpoint(
            f"QUANTIZATION_METHOD={mode} needs {HOW_TO_STORE[mode]}, but the model's config.json says that it is "
            f"{stored}: {HOW_TO_GET[mode]}.",
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


_EXPERTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
"""Where config.json has the number of experts: `get_num_experts` of vLLM 0.32."""


def check_engines_on_cpu(config: Mapping[str, Any], engines: int) -> None:
    """Raises WrongCheckpoint for a mixture of experts in several engines: on a CPU, vLLM 0.32 starts so and fails at
    the first request, because its engines have no way to exchange tokens there."""
    text = config.get("text_config")
    found = [part.get(name) for part in (config, text) if isinstance(part, Mapping) for name in _EXPERTS]
    if engines > 1 and any(found):
        raise WrongCheckpoint(
            f"{rows.DATA_PARALLEL.name}={engines} is not allowed with ACCELERATOR_TYPE=cpu for a mixture of experts: "
            "vLLM 0.32 fails there at the first request. Take it out, and set more replicas instead.",
            rows.DATA_PARALLEL.field,
        )
