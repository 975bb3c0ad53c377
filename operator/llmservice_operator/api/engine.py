"""How vLLM runs: memory, batching, caching and attention."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmservice_operator.api.base import APIType, Rule, WholeGiB


class Attention(StrEnum):
    """Attention kernels of vLLM."""

    AUTO = "auto"
    FLASH = "flash"
    TRITON = "triton"
    FLASHINFER = "flashinfer"


class Engine(APIType):
    """Settings of vLLM."""

    gpu_memory_utilization: Annotated[str, Field(pattern=r"^[0-9](\.[0-9]{1,3})?$", max_length=5)] | None = None
    """Share of each GPU's memory that vLLM takes, as a string above 0 up to 1, such as `"0.92"`. Not for
    accelerator.type cpu. Absent: vLLM's default, 0.92."""

    max_num_seqs: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Most requests in one batch. Absent: vLLM's default for the device."""

    max_num_batched_tokens: Annotated[int, Field(ge=16, le=16_777_216)] | None = None
    """Most tokens computed in one step over all requests. Absent: vLLM's default for the device."""

    prefix_caching: Annotated[bool, Field(strict=True)] | None = None
    """Keep and share the KV cache of equal prompt beginnings. Absent: on."""

    attention: Attention = Attention.AUTO
    """Attention kernels. `auto`: vLLM chooses for the device."""

    kv_cache_memory: WholeGiB | None = None
    """Host memory for the KV cache, in whole GiB such as `4Gi`; for accelerator.type cpu alone. Absent: 1Gi."""

    rules = (
        Rule(
            "!has(self.gpuMemoryUtilization) || "
            "(double(self.gpuMemoryUtilization) > 0.0 && double(self.gpuMemoryUtilization) <= 1.0)",
            'gpuMemoryUtilization is a share above 0 up to 1, such as "0.92"',
            ".gpuMemoryUtilization",
        ),
        Rule(
            "!has(self.maxNumBatchedTokens) || !has(self.maxNumSeqs) || self.maxNumBatchedTokens >= self.maxNumSeqs",
            "maxNumBatchedTokens may not be below maxNumSeqs: each request of a batch takes at least one token",
            ".maxNumBatchedTokens",
        ),
        Rule(
            "!has(self.maxNumSeqs) || self.maxNumSeqs <= 2048 || has(self.maxNumBatchedTokens)",
            "maxNumSeqs above 2048 needs maxNumBatchedTokens of that many: vLLM's own default may be 2048",
            ".maxNumSeqs",
        ),
    )
