"""The answer of the fit: where the memory of a GPU goes, in bytes, and what is left for requests."""

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
    """It can't be said, and is not guessed."""


class Reason(StrEnum):
    """Why; the names are those of the causes for which an engine would end."""

    FITS = "Fits"
    NO_ROOM_FOR_CACHE = "NoRoomForCache"
    """Weights and what runs beside them leave nothing for the cache."""
    CACHE_TOO_SMALL = "CacheTooSmall"
    """The cache would not hold one request of the longest context."""
    CONTEXT_TOO_LONG = "ContextTooLong"
    """Longer than the model was made for."""
    HEADS_NOT_DIVISIBLE = "HeadsNotDivisible"
    """The model can't be cut into so many equal parts."""
    TOO_FEW_LAYERS = "TooFewLayers"
    GPU_MEMORY_TAKEN = "GPUMemoryTaken"
    """More of the GPU is asked for than is free on an empty one."""
    NOT_MODELLED = "NotModelled"
    """How the model uses memory is not known here."""
    WEIGHTS_UNEXPLAINED = "WeightsUnexplained"
    """The weights' size contradicts config.json."""
    ESTIMATE_FAILED = "EstimateFailed"
    """The estimate ended with an error, or took too long: config.json is not that of a model as it is published."""


@dataclass(frozen=True)
class Ledger:
    """Bytes on the GPU that has the least room of all; for a model that is not known only the first two."""

    total: int
    requested: int
    """What vLLM takes of it."""
    weights: int | None = None
    activation: int | None = None
    """Peak of a step beside the weights."""
    graphs: int | None = None
    """CUDA graphs."""
    outside: int | None = None
    """Not by PyTorch."""
    cache: int | None = None
    """What is left for the KV cache; below 0 where the others are too much."""
    per_token: int | None = None
    """Bytes of one token in all layers that keep tokens, while it is in the window of each."""
    parts: Mapping[Part, int] = field(default_factory=dict)
    """The weights by what they belong to."""


@dataclass(frozen=True)
class Suggestion:
    """A change with which the model fits, reckoned like the service itself."""

    change: Mapping[str, str | int]
    """Values by path of the LLMService's field."""
    fit: Fit

    @property
    def text(self) -> str:
        """The change and what comes of it, in words."""
        changes = ", ".join(f"{field.removeprefix('spec.')} {value}" for field, value in self.change.items())
        return f"{changes}: {self.fit.capacity}"


@dataclass(frozen=True)
class Fit:
    """The verdict on one request."""

    verdict: Verdict
    reason: Reason
    message: str
    """For people: the numbers, and for one that does not fit what is too much."""
    ledger: Ledger
    architecture: str = ""
    gpus: int = 1
    """Of one replica."""
    context: int | None = None
    """Tokens of the longest request that is to be served."""
    longest: int | None = None
    """Tokens of the longest that could be, up to what the model was made for."""
    concurrency: float | None = None
    """Requests of the longest context that the cache holds at once."""
    blocks: int | None = None
    """Blocks of the cache."""
    block_tokens: int | None = None
    """Tokens of a block."""
    block_bytes: int | None = None
    load_seconds: int | None = None
    """How long a start may be expected to take, within a factor of two."""
    remedies: tuple[Suggestion, ...] = ()

    @property
    def capacity(self) -> str:
        """What it serves at once, in words."""
        if self.verdict is not Verdict.FITS or self.concurrency is None or self.context is None:
            return self.message
        count = f"{self.concurrency:.0f}" if self.concurrency >= 10 else f"{self.concurrency:.1f}".removesuffix(".0")
        return f"fits, {count} concurrent request{'' if count == '1' else 's'} of {tokens(self.context)} tokens"


def tokens(count: int) -> str:
    """A number of tokens as people write it: 8k for 8192."""
    return f"{count // 1024}k" if count >= 1024 and count % 1024 == 0 else str(count)


def gib(amount: int) -> str:
    """Bytes in GiB, for people."""
    return f"{amount / (1 << 30):.1f} GiB"
