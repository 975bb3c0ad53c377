"""A parameter of a model on one GPU. ``storage`` knows its size in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """The part of the model that a parameter belongs to. The ledger lists the weights by part."""

    EMBEDDING = "embedding"
    """Embeddings of tokens and positions."""
    HEAD = "head"
    """The output head. A tied head is the embedding and is not counted again."""
    ATTENTION = "attention"
    MLP = "mlp"
    """Dense feed-forward layers and shared experts."""
    EXPERTS = "experts"
    """Routed experts and their routers."""
    STATE = "state"
    """Layers with a recurrent state: Mamba, gated delta nets, short convolutions."""
    NORM = "norm"
    DRAFT = "draft"
    """The draft model of speculative decoding."""
    OTHER = "other"
    """Encoders of images and sound, and everything of which only the size is known."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """``copies`` matrices of ``rows`` x ``columns``: outputs x inputs, on one GPU."""

    name: str
    """Path in the checkpoint, such as ``model.layers.0.self_attn.q_proj``; for a fused matrix that of the first."""
    part: Part
    rows: int
    columns: int = 1
    copies: int = 1
    """Number of experts, usually."""
    merged: int = 1
    """Number of fused matrices of equal size, stacked in rows, such as gate and up."""
    joined: int = 1
    """Number of fused linear layers of any size, such as queries, keys and values."""
    across: bool = False
    """Whether its inputs are split over GPUs instead of its outputs."""
    linear: bool = False
    """Whether it is a linear layer. A quantized checkpoint stores these in few bits and everything else in 16."""
    wide: bool = False
    """Whether it is stored in 32 bits, like some parameters of recurrent layers."""
    unpacked: bool = False
    """Whether vLLM has an additional copy in 16 bits if the checkpoint is quantized."""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return self.rows * self.columns * self.copies
