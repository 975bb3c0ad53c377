"""What a GPU's memory goes to beside weights and cache. Calibrated on published measurements: docs/fit.md.

vLLM measures this itself, by a run of the largest batch before it makes the cache. The peak is in the sampler, which
has several copies of the scores of each word for each sequence, or in the layers. How many copies, and whether CUDA
graphs come on top, differs between versions, so there are two accounts: the cautious one of those that sort the scores,
and the lean one of those that don't and count graphs. What a start leaves for the cache lies between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmservice_operator.memory.matrix import Matrix, Part
from llmservice_operator.memory.model import Model

GIB = 1 << 30

RESIDUAL_BYTES = 2.5
"""Of each number of each token that is carried along while the sampler runs."""
LEAN_REST = 0.12
"""GiB of the lean account's peak that follow neither words nor tokens: 0.06 to 0.17 were measured."""
FREE_BUT = 0.62
"""GiB of a large GPU that are taken before anything is loaded: 78.57 of 79.18 are free on an empty H100."""
FREE_BUT_SMALL = 0.35
"""The same of one below 70 GiB."""


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


@dataclass(frozen=True, slots=True)
class Account:
    """How one kind of version measures."""

    sampler_bytes: float
    """Of each word and sequence in the sampler."""
    alone: float
    """GiB outside of PyTorch on a GPU by itself."""
    tensor: float
    """GiB more where GPUs share layers."""
    pipeline: float
    """GiB more where they are stages alone."""
    counts_graphs: bool
    """Whether CUDA graphs come on top of the peak, or after what it has left."""
    counts_experts: bool
    """Whether what experts compute with stays allocated."""


CAUTIOUS = Account(38.3, 0.13, 0.42, 0.42, counts_graphs=False, counts_experts=False)
"""vLLM 0.11 to 0.16. Sampler: 38.2 to 38.4 bytes on an H100 (Llama 3.1 8B, Qwen3 0.6B and 14B, gpt-oss 20b)."""
LEAN = Account(14.0, 0.25, 1.85, 0.0, counts_graphs=True, counts_experts=True)
"""vLLM 0.17 and later. Sampler: about 14 bytes on an H100 (Llama 3.1 8B and 70B, Qwen2.5 7B and 72B, Gemma 2, Phi 4),
and 0.12 GiB beside it."""
ACCOUNTS = (CAUTIOUS, LEAN)


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


def overheads(
    model: Model,
    widths: Widths,
    layers: int,
    tensor: int,
    pipeline: int,
    sequences: int,
    tokens: int,
    account: Account,
) -> Overheads:
    """What a start with batches of at most ``sequences`` and ``tokens`` takes on a stage of so many layers."""
    graphs = _graphs(layers, sequences)
    peak = account.sampler_bytes * min(sequences, tokens) * model.vocabulary + RESIDUAL_BYTES * model.hidden * tokens
    peak = max(peak, 2.0 * tokens * (5 * model.hidden + widths.layer))
    if account.counts_experts:
        peak += LEAN_REST * GIB + 2.0 * tokens * model.chosen * widths.expert
    elif not account.counts_graphs:
        peak = max(0.0, peak - graphs)
    beside = account.alone + (account.tensor if tensor > 1 else account.pipeline if pipeline > 1 else 0.0)
    return Overheads(round(peak), graphs, round(beside * GIB))


def free_at_start(total: int) -> int:
    """Bytes that are free on an empty GPU of so many."""
    return round(total - (FREE_BUT if total >= 70 * GIB else FREE_BUT_SMALL) * GIB)


def load_seconds(weights: int) -> int:
    """How long a start takes, for weights of so many bytes: reading at about 1 GB/s, then compiling and recording."""
    return round(60 + weights / 1e9)


def _graphs(layers: int, sequences: int) -> int:
    """CUDA graphs, one of each recorded size of batch and layer. Measured: 0.5 to 1.9 GiB for 26 to 80 layers."""
    largest = min(512, 2 * sequences)
    sizes = 3 + min(largest, 256) // 8 + max(0, largest - 256) // 16
    return round((0.1 + 0.021 * layers * sizes / 51) * GIB)


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
