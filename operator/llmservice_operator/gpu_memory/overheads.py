"""GPU memory in addition to weights and KV cache. Calibrated with published measurements: docs/fit.md.

vLLM measures it by a run of the largest batch before it creates the cache. The peak is in the sampler, which has
several copies of the logits of each sequence, in the layers, or in the compiler, which has a copy of the embedding.
What the sampler keeps, and whether CUDA graphs count, depends on the version of vLLM: each range of versions has an
Account.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Model

GIB = 1 << 30

RESIDUAL_BYTES = 2.5
"""Bytes per element of the residual stream while the sampler runs."""
FREE_BUT = 0.62
"""GiB of a large GPU that are used before anything is loaded: 78.57 of 79.18 are free on an empty H100."""
FREE_BUT_SMALL = 0.35
"""The same for a GPU below 70 GiB."""
LARGEST_GRAPH = 512
"""Maximum number of sequences in a batch that is captured as a CUDA graph."""


@dataclass(frozen=True, slots=True)
class Overheads:
    """Bytes per GPU."""

    activation: int
    graphs: int
    outside: int
    """Outside of PyTorch: communication and kernels."""

    @property
    def total(self) -> int:
        """The sum."""
        return self.activation + self.graphs + self.outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Memory accounting of one range of vLLM versions. Units are GiB unless stated otherwise."""

    since: tuple[int, int]
    """The first version, major and minor."""
    sampler_bytes: float
    """Bytes per logit (vocabulary x sequences) while the sampler runs."""
    alone: float
    """Outside of PyTorch without parallelism."""
    tensor: float
    """Additional memory with tensor parallelism."""
    pipeline: float = 0.0
    """Additional memory with only pipeline parallelism."""
    kept_bytes: float = 0.0
    """Bytes per logit that stay allocated: counts of each token."""
    rest: float = 0.0
    """Part of the peak that depends on neither vocabulary nor tokens."""
    graphs: bool = False
    """Whether CUDA graphs are counted."""
    experts: bool = True
    """Whether the workspace of experts stays allocated."""


ACCOUNTS = (
    Account(since=(0, 29), sampler_bytes=2.0, kept_bytes=4.125, alone=0.13, tensor=0.47, graphs=True),
    Account(since=(0, 25), sampler_bytes=2.0, kept_bytes=4.125, alone=0.13, tensor=0.47),
    Account(since=(0, 21), sampler_bytes=14.0, rest=0.12, alone=0.13, tensor=0.47, graphs=True),
    Account(since=(0, 17), sampler_bytes=14.0, rest=0.12, alone=0.25, tensor=1.85),
    Account(since=(0, 0), sampler_bytes=38.3, alone=0.13, tensor=0.42, pipeline=0.42, experts=False),
)
"""The newest first. Since 0.25 another model runner counts tokens and measures a sampler that only uses the
temperature; it counts CUDA graphs since 0.29, the previous one since 0.21. Up to 0.16 all logits were sorted: 38.2 to
38.4 bytes per logit on an H100."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Elements per token at the widest places of a model."""

    layer: int
    """In a layer, without experts."""
    expert: int
    """In one expert."""

    @classmethod
    def of(cls, model: Model) -> Widths:
        """The widths on one GPU."""
        return cls(_widest(model), _expert_width(model))


def account_of(version: tuple[int, int]) -> Account:
    """The accounting of a vLLM version, major and minor."""
    return next(each for each in ACCOUNTS if each.since <= version)


def overheads(
    model: Model,
    widths: Widths,
    layers: int,
    tensor: int,
    pipeline: int,
    sequences: int,
    tokens: int,
    account: Account,
    *,
    compiled: bool = True,
) -> Overheads:
    """The overheads of a stage with ``layers`` layers, for batches of at most ``sequences`` and ``tokens``.
    ``compiled``: whether the layers are compiled and captured as CUDA graphs."""
    scores = min(sequences, tokens) * model.vocabulary
    residual = RESIDUAL_BYTES * model.hidden * tokens
    peak = max(account.sampler_bytes * scores + residual, 2.0 * tokens * (5 * model.hidden + widths.layer))
    if account.experts:
        peak += 2.0 * tokens * model.chosen * widths.expert
    peak = max(peak + account.rest * GIB, _words(model) if compiled else 0.0) + account.kept_bytes * scores
    beside = account.alone + (account.tensor if tensor > 1 else account.pipeline if pipeline > 1 else 0.0)
    graphs = _graphs(layers, sequences) if account.graphs and compiled else 0
    return Overheads(round(peak), graphs, round(beside * GIB))


def free_at_start(total: int) -> int:
    """Free bytes on an empty GPU with ``total`` bytes."""
    return round(total - (FREE_BUT if total >= 70 * GIB else FREE_BUT_SMALL) * GIB)


def load_seconds(weights: int) -> int:
    """Duration of a start in seconds, for weights in bytes: reading at about 1 GB/s, compilation, graph capture."""
    return round(60 + weights / 1e9)


def _words(model: Model) -> int:
    """Bytes of the embedding in 16 bits, of which the compiler makes a copy."""
    return 2 * max((each.elements for each in model.first if each.part is Part.EMBEDDING), default=0)


def _graphs(layers: int, sequences: int) -> int:
    """Bytes of CUDA graphs: mixed batches of up to twice as many sequences, and batches of one token each, by their
    size. Measured: 0.5 to 0.6 GiB for 40 layers and 256 sequences, 0.8 for 32 layers and 1024 on an H100."""
    recorded = _recorded(min(LARGEST_GRAPH, 2 * sequences)) + _recorded(min(LARGEST_GRAPH, sequences))
    return round((0.1 + 0.021 * layers) * recorded / (2 * _recorded(LARGEST_GRAPH)) * GIB)


def _recorded(largest: int) -> int:
    """Sum of the captured batch sizes up to ``largest``: 1, 2, 4, then every 8, from 256 every 16."""
    return sum(size for size in (1, 2, 4, *range(8, 257, 8), *range(272, 513, 16)) if size <= largest)


def _widest(model: Model) -> int:
    """Elements per token in the widest layer, without experts."""
    return max((_inner(layer.matrices) for layer in model.layers), default=0)


def _inner(matrices: Iterable[Matrix]) -> int:
    parts = (Part.MLP, Part.ATTENTION, Part.STATE)
    found = (each.rows + each.rows // each.merged for each in matrices if each.linear and each.part in parts)
    return max(found, default=0)


def _expert_width(model: Model) -> int:
    """Elements per token in one expert."""
    found = (
        max(each.rows, each.columns) + each.rows // each.merged
        for layer in model.layers
        for each in layer.matrices
        if each.part is Part.EXPERTS and each.linear and not each.across
    )
    return max(found, default=0)
