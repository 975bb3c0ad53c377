"""What is asked of the fit: a model, a GPU, and the settings of vLLM that decide on memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmservice_operator.gpu_memory.gpus import GIB, GPU

VLLM = (0, 32)
"""The version that the runtime image brings, major and minor."""
UTILIZATION = 0.92
"""vLLM's default share of a GPU."""


@dataclass(frozen=True, slots=True)
class Lora:
    """Adapters that are served beside the model."""

    adapters: int = 1
    rank: int = 16


@dataclass(frozen=True)
class Request:
    """One question. Absent settings are vLLM's defaults for the GPU."""

    config: Mapping[str, Any] = field(hash=False)
    """The model's config.json."""
    gpu: GPU
    tensor: int = 1
    pipeline: int = 1
    quantization: str = "auto"
    """As ``spec.quantization.method``."""
    cache_dtype: str = "auto"
    """As ``spec.quantization.kvCacheDtype``."""
    max_context: int | None = None
    """Longest prompt and answer, in tokens; None for the model's own."""
    max_sequences: int | None = None
    max_batched_tokens: int | None = None
    utilization: float = UTILIZATION
    prefix_caching: bool = True
    lora: Lora | None = None
    stored_bytes: int | None = None
    """Bytes of the weights' files, as the safetensors index has them; None where they are not known."""
    parameters: int | None = None
    """Number of parameters, where it is known and the bytes are not."""
    vllm: tuple[int, int] = VLLM
    """Version of vLLM, major and minor."""
    compiled: bool = True
    """Whether layers are compiled and recorded as CUDA graphs; not with ``--enforce-eager``."""
    cpu_cache: int | None = None
    """Bytes of the cache of each process on a CPU, which is set and not measured; None for a GPU."""

    @property
    def on_cpu(self) -> bool:
        """Whether vLLM runs on a CPU."""
        return self.cpu_cache is not None

    @property
    def sequences(self) -> int:
        """Most requests in one batch."""
        processes = self.tensor * self.pipeline
        default = 128 * processes if self.on_cpu else 1024 if self.gpu.large else 256
        return self.max_sequences or default

    @property
    def batched_tokens(self) -> int:
        """Most tokens in one step."""
        if self.on_cpu:
            default = 2048 * self.tensor * self.pipeline
        else:
            default = 16384 if self.gpu.total >= 160 * GIB else 8192 if self.gpu.large else 2048
        return self.max_batched_tokens or max(default, self.sequences)

    @property
    def in_flight(self) -> int:
        """Most tokens that are scheduled at a time: vLLM prepares a step while another runs, and one per stage."""
        steps = 1 if self.on_cpu else max(2, self.pipeline)
        return steps * self.batched_tokens
