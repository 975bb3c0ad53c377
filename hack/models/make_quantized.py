"""Stores a model of make_tiny.py in fewer bits: a checkpoint of each kind that QUANTIZATION_METHOD names.

Every linear layer but lm_head is rounded to the nearest value that its format has, without calibration: the layout is
that of the tools people use, the error is larger than theirs. A weight is rounded by its scale as it is stored, so
nothing is lost twice. The same source gives the same bytes.

    int8  compressed-tensors, int-quantized: W8A8, a scale per output, activations quantized per token at run time
    int4  compressed-tensors, pack-quantized: W4A16, a scale per group
    fp8   compressed-tensors, float-quantized: W8A8 of float8_e4m3fn, a scale per output, activations as with int8
    gptq  AutoGPTQ's first layout: 4 bits, symmetric, a scale per group
    awq   AutoAWQ's gemm layout: 4 bits with a zero point, a scale and a zero point per group

Needs torch and safetensors, which vLLM brings along. One file on purpose, so that it can be mounted into a pod and run
there.

    python make_quantized.py SOURCE DIRECTORY --scheme int8|int4|fp8|gptq|awq
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

GROUP = 128
"""Inputs that share a scale, in the formats of 4 bits."""
PACKED = 8
"""Values of 4 bits in an int32, the first in its lowest bits."""
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight neighbours comes next in an int32 of AutoAWQ."""
LINEAR = "_proj.weight"
"""How the names of the weights that are stored anew end; every linear layer of Llama but lm_head."""


def main() -> None:
    arguments = parse()
    source, directory = Path(arguments.source), Path(arguments.directory)
    scheme = SCHEMES[arguments.scheme]
    config = json.loads((source / "config.json").read_text())
    if "quantization_config" in config:
        sys.exit(f"{source} is quantized already")
    directory.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file() and ".safetensors" not in file.name:
            shutil.copyfile(file, directory / file.name)
    count = store(source, directory, scheme.store)
    config["quantization_config"] = scheme.config
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for file in directory.iterdir():
        file.chmod(0o644)  # the engine may run as another user
    size = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{directory}: {count} linear layers as {arguments.scheme}, {size / 1e6:.1f} MB")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Stores the linear layers of a small Llama model in fewer bits.")
    parser.add_argument("source", help="a directory that make_tiny.py has made")
    parser.add_argument("directory", help="where the files go; made if absent")
    parser.add_argument("--scheme", choices=SCHEMES, required=True, help="how the layers are stored")
    return parser.parse_args()


def store(source: Path, directory: Path, layer: Callable[[Tensor], dict[str, Tensor]]) -> int:
    """Writes the weights of `source` with each linear layer as `layer` stores it; returns how many these are."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    stored: dict[str, Tensor] = {}
    count = 0
    for file in sorted(source.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no dict
                weight = weights.get_tensor(name)
                if not name.endswith(LINEAR):
                    stored[name] = weight
                    continue
                outputs, inputs = weight.shape
                if inputs % GROUP or outputs % PACKED:
                    sys.exit(
                        f"{name}: its {inputs} inputs have to be a multiple of {GROUP}, its {outputs} outputs of 8"
                    )
                prefix = name.removesuffix("weight")
                stored |= {prefix + part: tensor.contiguous() for part, tensor in layer(weight).items()}
                count += 1
    save_file(stored, directory / "model.safetensors", {"format": "pt"})
    return count


def int8(weight: Tensor) -> dict[str, Tensor]:
    """weight [out, in], weight_scale [out, 1]."""
    import torch

    values, scale = symmetric(weight, bits=8)
    return {"weight": values.to(torch.int8), "weight_scale": scale}


def fp8(weight: Tensor) -> dict[str, Tensor]:
    """weight [out, in], weight_scale [out, 1]."""
    import torch

    largest = torch.finfo(torch.float8_e4m3fn).max
    scale = scale_of(weight.float().abs().amax(dim=1, keepdim=True) / largest, weight)
    values = (weight.float() / scale.float()).clamp(-largest, largest)
    return {"weight": values.to(torch.float8_e4m3fn), "weight_scale": scale}


def int4(weight: Tensor) -> dict[str, Tensor]:
    """weight_packed [out, in/8] of the values plus 8, weight_scale [out, groups], weight_shape."""
    import torch

    values, scale = symmetric(grouped(weight), bits=4)
    return {
        "weight_packed": pack(values.reshape(weight.shape) + 8),
        "weight_scale": scale.squeeze(2),
        "weight_shape": torch.tensor(weight.shape, dtype=torch.int64),
    }


def gptq(weight: Tensor) -> dict[str, Tensor]:
    """qweight [in/8, out] of the values plus 8, qzeros [groups, out/8] of 7 for 8, scales [groups, out], g_idx [in]."""
    import torch

    values, scale = symmetric(grouped(weight), bits=4)
    scales = scale.squeeze(2).t()
    return {
        "qweight": pack(values.reshape(weight.shape) + 8).t(),
        "qzeros": pack(torch.full_like(scales, 8 - 1)),
        "scales": scales,
        "g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // GROUP,
    }


def awq(weight: Tensor) -> dict[str, Tensor]:
    """qweight [in, out/8], qzeros [groups, out/8], scales [groups, out]; a weight is (value - zero point) x scale."""
    groups = grouped(weight)
    low, high = groups.amin(2, keepdim=True).clamp(max=0), groups.amax(2, keepdim=True).clamp(min=0)
    scale = scale_of((high - low) / 15, weight)
    zero = (-low / scale.float()).round().clamp(0, 15)
    values = ((groups / scale.float()).round() + zero).clamp(0, 15).reshape(weight.shape)
    return {
        "qweight": pack(values.t(), AWQ_ORDER),
        "qzeros": pack(zero.squeeze(2).t(), AWQ_ORDER),
        "scales": scale.squeeze(2).t(),
    }


def grouped(weight: Tensor) -> Tensor:
    """[out, in] as [out, groups, GROUP], in float32."""
    return weight.float().reshape(weight.shape[0], -1, GROUP)


def symmetric(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Integers from -2^(bits-1) on, and their scale along the last dimension, in the weight's own type or bfloat16."""
    scale = scale_of(weight.float().abs().amax(dim=-1, keepdim=True) / (2**bits - 1) * 2, weight)
    half = 2 ** (bits - 1)
    return (weight.float() / scale.float()).round().clamp(-half, half - 1), scale


def scale_of(exact: Tensor, weight: Tensor) -> Tensor:
    """As it is stored: in 16 bits, and never 0."""
    import torch

    dtype = torch.bfloat16 if weight.dtype == torch.float32 else weight.dtype
    return exact.to(dtype).clamp(min=torch.finfo(dtype).tiny)


def pack(values: Tensor, order: tuple[int, ...] = tuple(range(PACKED))) -> Tensor:
    """[rows, columns] of 0 to 15 as [rows, columns/8] of int32; `order` says which of eight comes next."""
    import torch

    eights = values.to(torch.int32).reshape(values.shape[0], -1, PACKED)[:, :, list(order)]
    shifts = torch.arange(0, 32, 32 // PACKED, dtype=torch.int32)
    return (eights << shifts).sum(dim=2, dtype=torch.int32)


def compressed_tensors(format: str, weights: dict[str, Any], activations: dict[str, Any] | None) -> dict[str, Any]:
    """The configuration that llm-compressor writes."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": format,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


def numbers(type: str, bits: int, strategy: str, dynamic: bool = False, **more: Any) -> dict[str, Any]:
    """One side of a multiplication, in that configuration."""
    return {"type": type, "num_bits": bits, "strategy": strategy, "symmetric": True, "dynamic": dynamic, **more}


@dataclass(frozen=True)
class Scheme:
    """How a linear layer is stored, and what config.json says of it."""

    store: Callable[[Tensor], dict[str, Tensor]]
    config: dict[str, Any]


FOUR_BITS = {"bits": 4, "group_size": GROUP}
SCHEMES = {
    "int8": Scheme(
        int8,
        compressed_tensors("int-quantized", numbers("int", 8, "channel"), numbers("int", 8, "token", dynamic=True)),
    ),
    "int4": Scheme(int4, compressed_tensors("pack-quantized", numbers("int", 4, "group", group_size=GROUP), None)),
    "fp8": Scheme(
        fp8,
        compressed_tensors(
            "float-quantized", numbers("float", 8, "channel"), numbers("float", 8, "token", dynamic=True)
        ),
    ),
    "gptq": Scheme(gptq, {"quant_method": "gptq", **FOUR_BITS, "desc_act": False, "sym": True, "lm_head": False}),
    "awq": Scheme(awq, {"quant_method": "awq", **FOUR_BITS, "zero_point": True, "version": "gemm"}),
}


if __name__ == "__main__":
    main()
