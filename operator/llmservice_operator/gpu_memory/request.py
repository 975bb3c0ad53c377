"""The input of an estimate: a model, a GPU, and the settings of vLLM that affect memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmservice_operator.gpu_memory.gpus import GIB, GPU
from llmservice_operator.gpu_memory.model import Cut

VLLM = (0, 32)
"""vLLM version of the runtime image, major and minor."""
UTILIZATION = 0.92
"""vLLM's default share of GPU memory."""


@dataclass(frozen=True, slots=True)
class Lora:
    """LoRA adapters that are served with the model."""

    adapters: int = 1
    rank: int = 16


@dataclass(frozen=True)
class Draft:
    """The draft model of speculative decoding. It is split like the model."""

    name: str
    config: Mapping[str, Any] | None = field(default=None, hash=False)
    """Its config.json; None if it is not known."""


@dataclass(frozen=True)
class Request:
    """The input of one estimate. Absent settings are vLLM's defaults for the GPU."""

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
    """Maximum length of prompt and answer in tokens; None for the model's maximum."""
    max_sequences: int | None = None
    max_batched_tokens: int | None = None
    utilization: float = UTILIZATION
    prefix_caching: bool = True
    lora: Lora | None = None
    stored_bytes: int | None = None
    """Size of the weight files in the safetensors index; None if not known."""
    parameters: int | None = None
    """Number of parameters, if it is known and the size is not."""
    draft: Draft | None = None
    """The draft model of speculative decoding."""
    vendor: str = "nvidia"
    """Vendor of the GPUs, as in ``spec.accelerator.type``."""
    nodes: int = 1
    """As ``spec.parallelism.nodesPerReplica``."""
    data: int = 1
    """Engines of one replica, as ``spec.parallelism.data``."""
    vllm: tuple[int, int] = VLLM
    """Version of vLLM, major and minor."""
    compiled: bool = True
    """Whether layers are compiled and captured as CUDA graphs; false with ``--enforce-eager``."""
    cpu_cache: int | None = None
    """Configured KV cache of each process on a CPU in bytes; None for a GPU."""

    @property
    def cut(self) -> Cut:
        """How the model is split over GPUs."""
        return Cut(self.tensor, self.data)

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.tensor * self.pipeline * self.data

    @property
    def on_cpu(self) -> bool:
        """Whether vLLM runs on a CPU."""
        return self.cpu_cache is not None

    @property
    def sequences(self) -> int:
        """Maximum number of requests in one batch."""
        processes = self.tensor * self.pipeline
        default = 128 * processes if self.on_cpu else 1024 if self.gpu.large else 256
        return self.max_sequences or default

    @property
    def batched_tokens(self) -> int:
        """Maximum number of tokens in one step."""
        if self.on_cpu:
            default = 2048 * self.tensor * self.pipeline
        else:
            default = 16384 if self.gpu.total >= 160 * GIB else 8192 if self.gpu.large else 2048
        return self.max_batched_tokens or max(default, self.sequences)

    @property
    def in_flight(self) -> int:
        """Maximum number of scheduled tokens. vLLM prepares a step while another one runs, and one per stage."""
        steps = 1 if self.on_cpu else max(2, self.pipeline)
        return steps * self.batched_tokens
