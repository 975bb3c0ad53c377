"""What a GPU's memory goes to beside weights and cache. Calibrated on published measurements: docs/fit.md.

vLLM measures this itself, by a run of the largest batch before it makes the cache. The peak is in the sampler, which
has several copies of the scores of each word for each sequence, in the layers, or in the compiler, which has the table
of words once more. What the sampler holds, and whether CUDA graphs are counted, differs between versions of vLLM: each
kind of version has an account of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Model

GIB = 1 << 30

RESIDUAL_BYTES = 2.5
"""Of each number of each token that is carried along while the sampler runs."""
FREE_BUT = 0.62
"""GiB of a large GPU that are taken before anything is loaded: 78.57 of 79.18 are free on an empty H100."""
FREE_BUT_SMALL = 0.35
"""The same of one below 70 GiB."""
LARGEST_GRAPH = 512
"""Sequences of the largest batch that is recorded as a CUDA graph."""


@dataclass(frozen=True, slots=True)
class Overheads:
    """Bytes per GPU."""

    activation: int
    graphs: int
    outside: int
    """Not by PyTorch: communication, kernels."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.activation + self.graphs + self.outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How one kind of version measures. GiB where nothing else is said."""

    since: tuple[int, int]
    """The first version that does, major and minor."""
    sampler_bytes: float
    """Of each word and sequence while the sampler runs."""
    alone: float
    """Outside of PyTorch on a GPU by itself."""
    tensor: float
    """More where GPUs share layers."""
    pipeline: float = 0.0
    """More where they are stages alone."""
    kept_bytes: float = 0.0
    """Of each word and sequence, all the time: how often each word was given."""
    rest: float = 0.0
    """Of the peak, for what follows neither words nor tokens."""
    graphs: bool = False
    """Whether CUDA graphs are counted."""
    experts: bool = True
    """Whether what experts compute with stays allocated."""


ACCOUNTS = (
    Account(since=(0, 29), sampler_bytes=2.0, kept_bytes=4.125, alone=0.13, tensor=0.47, graphs=True),
    Account(since=(0, 25), sampler_bytes=2.0, kept_bytes=4.125, alone=0.13, tensor=0.47),
    Account(since=(0, 21), sampler_bytes=14.0, rest=0.12, alone=0.13, tensor=0.47, graphs=True),
    Account(since=(0, 17), sampler_bytes=14.0, rest=0.12, alone=0.25, tensor=1.85),
    Account(since=(0, 0), sampler_bytes=38.3, alone=0.13, tensor=0.42, pipeline=0.42, experts=False),
)
"""The newest first. From 0.25 on another runner counts words, and measures a sampler that chooses by temperature alone;
it counts CUDA graphs since 0.29, the one before it since 0.21. Up to 0.16 all scores were sorted: 38.2 to 38.4 bytes of
each on an H100."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Numbers of a token inside a model, at its widest."""

    layer: int
    """In a layer, experts left out."""
    expert: int
    """In one expert."""

    @classmethod
    def of(cls, model: Model) -> Widths:
        """Those of one GPU's part."""
        return cls(_widest(model), _expert_width(model))


def account_of(version: tuple[int, int]) -> Account:
    """That of a version of vLLM, major and minor."""
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
    """What a start with batches of at most ``sequences`` and ``tokens`` takes on a stage of so many layers.
    ``compiled``: whether the layers are compiled and recorded as graphs."""
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
    """Bytes that are free on an empty GPU of so many."""
    return round(total - (FREE_BUT if total >= 70 * GIB else FREE_BUT_SMALL) * GIB)


def load_seconds(weights: int) -> int:
    """How long a start takes, for weights of so many bytes: reading at about 1 GB/s, then compiling and recording."""
    return round(60 + weights / 1e9)


def _words(model: Model) -> int:
    """Bytes of the table of words in 16 bits, of which the compiler makes another."""
    return 2 * max((each.elements for each in model.first if each.part is Part.EMBEDDING), default=0)


def _graphs(layers: int, sequences: int) -> int:
    """CUDA graphs: mixed batches of up to twice as many sequences, and batches of one token each, by their size.
    Measured: 0.5 to 0.6 GiB for 40 layers and 256 sequences, 0.8 for 32 layers and 1024 on an H100."""
    recorded = _recorded(min(LARGEST_GRAPH, 2 * sequences)) + _recorded(min(LARGEST_GRAPH, sequences))
    return round((0.1 + 0.021 * layers) * recorded / (2 * _recorded(LARGEST_GRAPH)) * GIB)


def _recorded(largest: int) -> int:
    """Sequences of all batches that are recorded up to one of so many: 1, 2, 4, then each 8, from 256 on each 16."""
    return sum(size for size in (1, 2, 4, *range(8, 257, 8), *range(272, 513, 16)) if size <= largest)


def _widest(model: Model) -> int:
    """Numbers of a token inside the widest layer, experts left out."""
    return max((_inner(layer.matrices) for layer in model.layers), default=0)


def _inner(matrices: Iterable[Matrix]) -> int:
    parts = (Part.MLP, Part.ATTENTION, Part.STATE)
    found = (each.rows + each.rows // each.merged for each in matrices if each.linear and each.part in parts)
    return max(found, default=0)


def _expert_width(model: Model) -> int:
    """Numbers of a token inside one expert."""
    found = (
        max(each.rows, each.columns) + each.rows // each.merged
        for layer in model.layers
        for each in layer.matrices
        if each.part is Part.EXPERTS and each.linear and not each.across
    )
    return max(found, default=0)
