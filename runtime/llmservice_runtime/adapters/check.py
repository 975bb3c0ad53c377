"""Whether an adapter is one that vLLM serves with this model: from its adapter_config.json and the header of its
safetensors. No weight is read, nothing of it runs, and no text of it is used as a pattern.

vLLM ignores an adapter's layers that the model lacks, and takes tensors that are smaller than the model's. Such an
adapter would be served with wrong answers, so it is refused here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmservice_runtime.adapters.refused import (
    DOES_NOT_FIT,
    INVALID,
    RANK_TOO_LARGE,
    UNSAFE,
    UNSUPPORTED,
    AdapterRefused,
)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MOST_CONFIG_BYTES = 1024 * 1024
MOST_HEADER_BYTES = 16 * 1024 * 1024
MOST_TENSORS = 100_000
MOST_PATTERNS = 4096
BYTES_OF = {"F32": 4, "F16": 2, "BF16": 2}
PREFIX = "base_model.model."
_TENSOR = re.compile(r"(?P<module>[A-Za-z0-9_.]{1,512})\.(lora_(embedding_)?(?P<side>[AB]))(\.weight)?")
_PLAIN = re.compile(r"[A-Za-z0-9_.]{1,512}")
_LAYER = re.compile(r"(?:^|\.)layers\.([0-9]{1,6})\.")
_OTHER_TOWER = re.compile(r"vis(ion|ual)|audio|image|encoder|tower")
_READ_HIDDEN = frozenset({"q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj"})
_WRITE_HIDDEN = frozenset({"o_proj", "down_proj"})
_FEATURES = ("use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication", "use_bdlora", "use_qalora")
_KEPT = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern")


@dataclass(frozen=True, slots=True)
class Base:
    """What is known of the model."""

    max_rank: int
    hidden_size: int | None = None
    layers: int | None = None
    shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Outputs and inputs of its linear layers by name, without `.weight`; empty if its files are not at hand."""


def check(directory: Path, base: Base) -> dict[str, Any]:
    """The adapter's configuration with only what vLLM needs. Raises AdapterRefused."""
    config = check_config(_bounded(directory / CONFIG, MOST_CONFIG_BYTES), base.max_rank)
    path = directory / WEIGHTS
    header, begin = read_header(path)
    modules = check_tensors(header, path.stat().st_size - begin, base)
    return config | {"target_modules": sorted({name.rpartition(".")[2] for name in modules})}


def check_config(content: bytes, max_rank: int) -> dict[str, Any]:
    """The fields of adapter_config.json that vLLM needs, except its modules. Raises AdapterRefused."""
    try:
        config = json.loads(content.decode())
    except (ValueError, RecursionError):
        raise AdapterRefused(INVALID, f"{CONFIG} is not JSON.") from None
    if not isinstance(config, dict):
        raise AdapterRefused(INVALID, f"{CONFIG} is not a JSON object.")
    if "auto_map" in config:
        raise AdapterRefused(UNSAFE, f"{CONFIG} has an auto_map, which names code to run.")
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise AdapterRefused(UNSUPPORTED, f"peft_type is {_shown(config['peft_type'])}: only LORA can be served.")
    for name in _FEATURES:
        if config.get(name):
            raise AdapterRefused(UNSUPPORTED, f"{CONFIG} sets {name}, which vLLM does not support.")
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise AdapterRefused(
            UNSUPPORTED,
            f"{CONFIG} has biases or whole layers (bias, modules_to_save): train it with LoRA weights alone.",
        )
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in ("gaussian", "eva", "orthogonal", "mica", "lora_ga"):
        raise AdapterRefused(
            UNSUPPORTED, f"init_lora_weights is {_shown(init)}: such an adapter changes the model's own weights."
        )
    ranks = [config.get("r"), *_pattern(config, "rank_pattern").values()]
    if not all(type(rank) is int and rank > 0 for rank in ranks):
        raise AdapterRefused(INVALID, f"the rank r in {CONFIG} is no positive whole number.")
    alphas = [config.get("lora_alpha"), *_pattern(config, "alpha_pattern").values()]
    if not all(type(alpha) in (int, float) and abs(alpha) <= 1e6 for alpha in alphas):
        raise AdapterRefused(INVALID, f"lora_alpha in {CONFIG} is no number up to 1000000.")
    _check_rank(max(ranks), max_rank)
    return {"peft_type": "LORA", "bias": "none"} | {name: config[name] for name in _KEPT if config.get(name)}


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, with shape and type of each tensor, and where its data begin. Raises
    AdapterRefused."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= MOST_HEADER_BYTES:
            raise AdapterRefused(INVALID, f"{path.name} is no safetensors file.")
        content = file.read(size)
    try:
        header = json.loads(content.decode())
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or len(content) < size:
        raise AdapterRefused(INVALID, f"{path.name} is no safetensors file.")
    header.pop("__metadata__", None)
    return header, 8 + size


def check_tensors(header: Mapping[str, Any], data_bytes: int, base: Base) -> set[str]:
    """The names of the layers that the adapter changes. Raises AdapterRefused."""
    if not header or len(header) > MOST_TENSORS:
        raise AdapterRefused(INVALID, f"{WEIGHTS} has {len(header)} tensors; 1 to {MOST_TENSORS} are allowed.")
    sides: dict[str, dict[str, list[int]]] = {}
    for name, entry in header.items():
        found = _TENSOR.fullmatch(name)
        if found is None:
            raise AdapterRefused(UNSUPPORTED, f"{WEIGHTS} has the tensor {_shown(name)}, which is no LoRA weight.")
        shape = _shape(name, entry, data_bytes)
        sides.setdefault(found["module"].removeprefix(PREFIX), {})[found["side"]] = shape
    for module, both in sides.items():
        _check_module(module, both, base)
    return set(sides)


def _shape(name: str, entry: Any, data_bytes: int) -> list[int]:
    """The tensor's shape. Its bytes lie within the file."""
    shape, dtype, offsets = (
        (entry.get("shape"), entry.get("dtype"), entry.get("data_offsets")) if isinstance(entry, dict) else (None,) * 3
    )
    numbers = [*(shape if isinstance(shape, list) else [-1]), *(offsets if isinstance(offsets, list) else [-1])]
    if len(numbers) != 4 or not all(type(each) is int and 0 <= each < 2**40 for each in numbers):
        raise AdapterRefused(INVALID, f"{WEIGHTS} has no matrix {_shown(name)}.")
    rows, columns, first, last = numbers
    if dtype not in BYTES_OF:
        raise AdapterRefused(
            UNSUPPORTED, f"{_shown(name)} is of type {_shown(dtype)}: F32, F16 and BF16 can be served."
        )
    if last - first != rows * columns * BYTES_OF[dtype] or last > data_bytes:
        raise AdapterRefused(INVALID, f"{WEIGHTS} is cut off or wrong at {_shown(name)}.")
    return [rows, columns]


def _check_module(module: str, sides: Mapping[str, list[int]], base: Base) -> None:
    if set(sides) != {"A", "B"}:
        raise AdapterRefused(INVALID, f"{WEIGHTS} has only one of both LoRA weights of {module}.")
    (rank, inputs), (outputs, other) = sides["A"], sides["B"]
    if rank != other:
        raise AdapterRefused(INVALID, f"the LoRA weights of {module} have the ranks {rank} and {other}.")
    _check_rank(rank, base.max_rank)
    if _OTHER_TOWER.search(module):
        return
    layer = _LAYER.search(module)
    if layer and base.layers is not None and int(layer[1]) >= base.layers:
        raise AdapterRefused(
            DOES_NOT_FIT, f"it changes layer {layer[1]}, but the model has the layers 0 to {base.layers - 1}."
        )
    known = base.shapes.get(module)
    if known is not None and known != (outputs, inputs):
        raise AdapterRefused(
            DOES_NOT_FIT,
            f"its {module} has {inputs} inputs and {outputs} outputs, but the model's has {known[1]} and {known[0]}.",
        )
    kind = module.rpartition(".")[2]
    width = inputs if kind in _READ_HIDDEN else outputs if kind in _WRITE_HIDDEN else None
    if known is None and width is not None and base.hidden_size is not None and width != base.hidden_size:
        raise AdapterRefused(
            DOES_NOT_FIT, f"it is for a model of the hidden size {width}, but the model's is {base.hidden_size}."
        )


def _check_rank(rank: int, most: int) -> None:
    if rank > most:
        raise AdapterRefused(
            RANK_TOO_LARGE,
            f"its rank is {rank}, but spec.engine.maxLoraRank is {most}. Set it to at least {rank}, which restarts the "
            "pods.",
        )


def _pattern(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """vLLM takes its keys as regular expressions, so that only names are accepted."""
    found = config.get(name) or {}
    if not isinstance(found, dict) or len(found) > MOST_PATTERNS or not all(map(_PLAIN.fullmatch, found)):
        raise AdapterRefused(UNSAFE, f"{name} in {CONFIG} has keys that are not plain names of layers.")
    return found


def _bounded(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise AdapterRefused(INVALID, f"{path.name} has more than {most} bytes.")
    return content


def _shown(value: object) -> str:
    return repr(value)[:80]
