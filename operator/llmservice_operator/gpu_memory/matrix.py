"""A parameter of a model as one GPU holds it. How many bytes it takes is ``storage``'s."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """What a parameter belongs to; the ledger's weights are told by these."""

    EMBEDDING = "embedding"
    """Token embeddings, and those of positions."""
    HEAD = "head"
    """The output head; a tied one is the embedding and is not counted again."""
    ATTENTION = "attention"
    MLP = "mlp"
    """Dense feed-forward layers, and the shared experts."""
    EXPERTS = "experts"
    """Routed experts and their routers."""
    STATE = "state"
    """Layers with a recurrent state: Mamba, gated delta nets, short convolutions."""
    NORM = "norm"
    OTHER = "other"
    """Encoders of images and sound, and what is only known by size."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """``copies`` matrices of ``rows`` x ``columns``: rows are outputs, columns inputs, both on one GPU."""

    name: str
    """Path in the checkpoint, such as ``model.layers.0.self_attn.q_proj``; of fused ones the first."""
    part: Part
    rows: int
    columns: int = 1
    copies: int = 1
    """Experts, mostly."""
    merged: int = 1
    """Matrices of equal size that are one here, side by side in rows, as gate and up are."""
    joined: int = 1
    """Linear layers of any size that are one here, as queries, keys and values are."""
    across: bool = False
    """Whether its inputs are shared among GPUs, and not its outputs."""
    linear: bool = False
    """Whether it is a linear layer, which a quantized checkpoint stores in few bits; else it stays in 16."""
    wide: bool = False
    """Whether it is kept in 32 bits, as some parameters of recurrent layers are."""
    unpacked: bool = False
    """Whether vLLM keeps it once more in 16 bits where the checkpoint is quantized."""

    @property
    def elements(self) -> int:
        """Numbers in it."""
        return self.rows * self.columns * self.copies
