"""Errors of quantized checkpoints against their original, unpacked by compressed-tensors instead of vLLM.

So the layout is tried without vLLM's kernels, some of which this machine's processor lacks, and without the code that
packed. Run it with vLLM's Python; it prints each checkpoint's largest error of a layer, relative to the layer's norm.
With -P, or this directory's operator.py stands for Python's own.

    python -P unpacked.py ORIGINAL CHECKPOINT …
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def main() -> None:
    original, *checkpoints = (Path(each) for each in sys.argv[1:])
    print(json.dumps([largest_error(original, checkpoint) for checkpoint in checkpoints]))


def largest_error(original: Path, checkpoint: Path) -> float:
    from safetensors.torch import load_file

    weights = load_file(original / "model.safetensors")
    quantization = json.loads((checkpoint / "config.json").read_text())["quantization_config"]
    unpack = {"compressed-tensors": compressed_tensors, "awq": awq, "gptq": gptq}[quantization["quant_method"]]
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(checkpoint / "model.safetensors").items():
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = tensor
    assert {f"{layer}.weight" for layer in layers} == weights.keys()
    errors = []
    for layer, parts in layers.items():
        weight = weights[f"{layer}.weight"].float()
        found = unpack(parts, quantization) if layer.endswith("_proj") else parts["weight"]
        errors.append(float((found.float() - weight).norm() / weight.norm()))
    return max(errors)


def compressed_tensors(parts: dict[str, Tensor], config: dict[str, Any]) -> Tensor:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig

    scheme = next(iter(QuantizationConfig.model_validate(config).config_groups.values()))
    return BaseCompressor.get_value_from_registry(config["format"]).decompress(parts, scheme)["weight"]


def awq(parts: dict[str, Tensor], config: dict[str, Any]) -> Tensor:
    from compressed_tensors.entrypoints.convert.converters import AutoAWQConverter

    converter = AutoAWQConverter.from_autoawq_config(config)
    converted = converter.process({f"layer.{part}": tensor for part, tensor in parts.items()})
    renamed = {name.removeprefix("layer."): tensor for name, tensor in converted.items()}
    return compressed_tensors(renamed, converter.create_config().model_dump())


def gptq(parts: dict[str, Tensor], config: dict[str, Any]) -> Tensor:
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    bits, scales, groups = config["bits"], parts["scales"], parts["g_idx"].long()
    values = unpack_from_int32(parts["qweight"], bits, (len(groups), scales.shape[1]), packed_dim=0)
    zeros = unpack_from_int32(parts["qzeros"], bits, scales.shape, packed_dim=1) + 1
    return ((values - zeros[groups]) * scales[groups]).t()


if __name__ == "__main__":
    main()
