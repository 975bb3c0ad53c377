"""What one layer keeps of a running request, as vLLM's KV cache has it, on one GPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attention:
    """Keys and values of each token."""

    heads: int
    """Key and value heads on one GPU."""
    width: int
    """Numbers of a head and token: those of a key and those of a value."""
    window: int | None = None
    """Tokens that are kept in sliding-window attention; None for all."""
    chunk: int | None = None
    """Tokens of a chunk in chunked local attention; None for none."""

    @property
    def numbers(self) -> int:
        """Numbers of a token."""
        return self.heads * self.width


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention: one vector of each token, the same on every GPU."""

    width: int

    @property
    def numbers(self) -> int:
        """Numbers of a token."""
        return self.width


@dataclass(frozen=True, slots=True)
class State:
    """A recurrent state, of constant size for each request."""

    small: int
    """Numbers in the model's own type."""
    wide: int = 0
    """Numbers in 32 bits."""
    kept: int = 2
    """States that a request holds where beginnings of prompts are kept for others."""


Cache = Attention | Latent | State
