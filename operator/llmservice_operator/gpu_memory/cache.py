"""What one layer stores for a running request in vLLM's KV cache, on one GPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attention:
    """Keys and values of each token."""

    heads: int
    """Key and value heads on one GPU."""
    width: int
    """Elements of one key and one value together, for one head and token."""
    window: int | None = None
    """Number of tokens in sliding-window attention; None for all."""
    chunk: int | None = None
    """Tokens per chunk in chunked local attention; None without chunks."""

    @property
    def numbers(self) -> int:
        """Elements per token."""
        return self.heads * self.width


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention: one vector per token, the same on every GPU."""

    width: int

    @property
    def numbers(self) -> int:
        """Elements per token."""
        return self.width


@dataclass(frozen=True, slots=True)
class State:
    """A recurrent state, of constant size per request."""

    small: int
    """Elements in the data type of the model."""
    wide: int = 0
    """Elements in 32 bits."""
    kept: int = 2
    """States per request with prefix caching."""


Cache = Attention | Latent | State
