"""The result of an estimate: the memory of a GPU by use, in bytes, and what is left for requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from llmservice_operator.gpu_memory.matrix import Part


class Verdict(StrEnum):
    """Whether the model fits."""

    FITS = "Fits"
    DOES_NOT_FIT = "DoesNotFit"
    UNKNOWN = "Unknown"
    """It can't be estimated, and is not guessed."""


class Reason(StrEnum):
    """Why; the names are those of the causes with which an engine would exit."""

    FITS = "Fits"
    NO_ROOM_FOR_CACHE = "NoRoomForCache"
    """Weights and overheads leave nothing for the KV cache."""
    CACHE_TOO_SMALL = "CacheTooSmall"
    """The KV cache is too small for one request of the maximum length."""
    CONTEXT_TOO_LONG = "ContextTooLong"
    """Longer than the model's maximum."""
    HEADS_NOT_DIVISIBLE = "HeadsNotDivisible"
    """The model can't be split into that many equal parts."""
    TOO_FEW_LAYERS = "TooFewLayers"
    GPU_MEMORY_TAKEN = "GPUMemoryTaken"
    """More GPU memory is requested than is free on an empty GPU."""
    WRONG_CHECKPOINT = "WrongCheckpoint"
    """The checkpoint is not stored as the quantization method needs it."""
    GPU_TOO_OLD = "GPUTooOld"
    """vLLM does not run on the GPU, or not with these weights."""
    PARTS_OF_GPUS = "PartsOfGPUs"
    """The model is split over parts of GPUs: slices, or GPUs that several pods share."""
    GPU_SHARED = "GPUShared"
    """More GPU memory is requested than the part of one of the pods that share the GPU."""
    NOT_MODELLED = "NotModelled"
    """The operator does not know how the model uses memory."""
    WEIGHTS_UNEXPLAINED = "WeightsUnexplained"
    """The size of the weights contradicts config.json."""
    ESTIMATE_FAILED = "EstimateFailed"
    """The estimate failed or took too long: config.json is not that of a published model."""


@dataclass(frozen=True)
class Ledger:
    """Bytes on the GPU with the least room; only the first two for a model that is not known."""

    total: int
    requested: int
    """Memory that vLLM uses: of a model without a KV cache only what it needs."""
    weights: int | None = None
    activation: int | None = None
    """Peak of a step in addition to the weights."""
    graphs: int | None = None
    """CUDA graphs."""
    outside: int | None = None
    """Outside of PyTorch."""
    cache: int | None = None
    """What is left for the KV cache; below 0 if the others need too much."""
    per_token: int | None = None
    """Bytes per token in all layers with a KV cache, while the token is in the window of each."""
    parts: Mapping[Part, int] = field(default_factory=dict)
    """The weights by part of the model."""


@dataclass(frozen=True)
class Suggestion:
    """A change with which the model fits, estimated like the service itself."""

    change: Mapping[str, str | int]
    """New values, by path of the LLMService's field."""
    fit: Fit

    @property
    def text(self) -> str:
        """The change and its result, for people."""
        changes = ", ".join(f"{field.removeprefix('spec.')} {value}" for field, value in self.change.items())
        return f"{changes}: {self.fit.capacity}"


@dataclass(frozen=True)
class Fit:
    """The verdict on one request."""

    verdict: Verdict
    reason: Reason
    message: str
    """For people: the numbers, and if it does not fit what is too large."""
    ledger: Ledger
    architecture: str = ""
    gpus: int = 1
    """Number of GPUs of one replica."""
    context: int | None = None
    """Maximum length of a request in tokens, as requested."""
    longest: int | None = None
    """Maximum possible length in tokens, up to the model's maximum."""
    concurrency: float | None = None
    """Number of requests of the maximum length that fit the KV caches of a replica at once."""
    blocks: int | None = None
    """Number of blocks in the KV cache of one engine."""
    block_tokens: int | None = None
    """Tokens per block."""
    block_bytes: int | None = None
    load_seconds: int | None = None
    """Expected duration of a start in seconds, within a factor of two."""
    suggestions: tuple[Suggestion, ...] = ()

    @property
    def capacity(self) -> str:
        """The concurrent requests, for people."""
        if self.verdict is not Verdict.FITS or self.concurrency is None or self.context is None:
            return self.message
        count = f"{self.concurrency:.0f}" if self.concurrency >= 10 else f"{self.concurrency:.1f}".removesuffix(".0")
        return f"fits, {count} concurrent request{'' if count == '1' else 's'} of {tokens(self.context)} tokens"


def tokens(count: int) -> str:
    """A number of tokens for people: 8k for 8192."""
    return f"{count // 1024}k" if count >= 1024 and count % 1024 == 0 else str(count)


def gib(amount: int) -> str:
    """Bytes in GiB, for people."""
    return f"{amount / (1 << 30):.1f} GiB"
