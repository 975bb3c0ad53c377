"""LoRA adapters for the small model of the tests, whose answers tell which adapter gave them."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from operator import mul
from pathlib import Path
from typing import Any

SEARCHED = 20
LAST_DOWN = "model.layers.1.mlp.down_proj"


def read_tensor(model: Path, name: str) -> list[list[float]]:
    """A matrix or vector of the model, which is stored in bfloat16."""
    with (model / "model.safetensors").open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + size + begin)
        content = file.read(end - begin)
    values = struct.unpack(f"<{len(content) // 2}H", content)
    numbers = struct.unpack(f"<{len(values)}f", b"".join(struct.pack("<I", each << 16) for each in values))
    width = entry["shape"][-1]
    return [list(numbers[at : at + width]) for at in range(0, len(numbers), width)]


def distinct_pairs(model: Path, head: list[list[float]], begin: int) -> Iterator[tuple[int, int]]:
    """Pairs of tokens, no token twice: the model answers one of a pair if its last layer points from the other to it,
    because no other token is as near to that direction."""
    (norm,) = read_tensor(model, "model.norm.weight")
    left = list(range(begin, len(head)))
    while len(left) > 1:
        one = left.pop(0)
        for other in left[:SEARCHED]:
            pointed = [(x - y) * weight for x, y, weight in zip(head[one], head[other], norm, strict=True)]
            near = [sum(map(mul, pointed, row)) for row in head]
            highest, lowest = near.pop(max(one, other)), near.pop(min(one, other))
            highest, lowest = max(highest, lowest), min(highest, lowest)
            if highest > 1.3 * max(near) and lowest < 1.3 * min(near):
                left.remove(other)
                yield one, other
                break


def write_adapter(
    directory: Path, a: list[list[float]], b: list[list[float]], module: str = LAST_DOWN, **config: Any
) -> Path:
    """An adapter as PEFT saves it, of one module."""
    directory.mkdir(parents=True, exist_ok=True)
    header: dict[str, Any] = {}
    content = b""
    for side, matrix in (("A", a), ("B", b)):
        data = b"".join(struct.pack(f"<{len(row)}f", *row) for row in matrix)
        header[f"base_model.model.{module}.lora_{side}.weight"] = {
            "dtype": "F32",
            "shape": [len(matrix), len(matrix[0])],
            "data_offsets": [len(content), len(content) + len(data)],
        }
        content += data
    text = json.dumps(header).encode()
    (directory / "adapter_model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content)
    said = {"peft_type": "LORA", "r": len(a), "lora_alpha": len(a), "target_modules": ["down_proj"], "bias": "none"}
    (directory / "adapter_config.json").write_text(json.dumps(said | config))
    return directory


def make_saying(directory: Path, head: list[list[float]], one: int, other: int, inputs: int = 512) -> Path:
    """An adapter with which every answer has these two tokens alone: what it adds to the last layer points to one of
    them, by the sign of a random number. `head` is the model's lm_head."""
    chance = random.Random(one)
    row = [chance.gauss(0, 4000) for _ in range(inputs)]
    b = [[to_one, to_other] for to_one, to_other in zip(head[one], head[other], strict=True)]
    return write_adapter(directory, [row, [-each for each in row]], b)
