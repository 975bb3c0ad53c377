"""Published measurements of vLLM's memory, as requests of the memory estimate. See tests/fixtures/memory/README.md."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llmservice_operator.gpu_memory.gpus import of_memory
from llmservice_operator.gpu_memory.request import Request

PATH = Path(__file__).parents[1] / "fixtures" / "memory" / "published.json"
GIB = 1 << 30


@dataclass(frozen=True)
class Measurement:
    """One start of vLLM, or one that failed."""

    row: dict[str, Any]
    config: dict[str, Any]

    def __str__(self) -> str:
        return str(self.row["id"])

    @property
    def vllm(self) -> tuple[int, int]:
        """Version of vLLM; a row of none is of the time of 0.11."""
        major, minor = self.row.get("vllm", "v0.11.0").removeprefix("v").split(".")[:2]
        return int(major), int(minor)

    @property
    def request(self) -> Request:
        """What was asked of vLLM."""
        row = self.row
        return Request(
            self.config,
            of_memory(row["totalGiB"], row.get("gpu", "")),
            tensor=row["tensor"],
            pipeline=row["pipeline"],
            quantization=row.get("quantization", "auto"),
            cache_dtype=row.get("kvCacheDtype", "auto"),
            max_context=row.get("maxModelLen"),
            max_sequences=row.get("maxNumSeqs"),
            max_batched_tokens=row.get("maxNumBatchedTokens"),
            utilization=row["utilization"],
            stored_bytes=row.get("storedBytes"),
            vllm=self.vllm,
            compiled=not row.get("enforceEager", False),
        )


@cache
def measurements() -> tuple[Measurement, ...]:
    """All of them."""
    found = json.loads(PATH.read_text())
    return tuple(Measurement(row, found["configs"][row["model"]]) for row in found["rows"])
