"""One request and its result: the times of its chunks, the server's count of its tokens, its error."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

CUT = "cut"
"""The command ended before the answer did: neither a success nor the server's failure."""


@dataclass
class Answer:
    """Times are those of one clock. A chunk is one message of the stream that brings a part of the answer."""

    began: float
    chunks: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str = ""
    """The kind of error; empty if the answer came whole."""
    detail: str = ""
    """What the server or the connection said."""

    @property
    def succeeded(self) -> bool:
        return not self.error

    @property
    def failed(self) -> bool:
        return self.error not in ("", CUT)

    @property
    def ended(self) -> float:
        """When the last chunk came; the beginning if none did."""
        return self.chunks[-1] if self.chunks else self.began

    @property
    def first_token(self) -> float:
        """TTFT: from the moment before the request is sent to its first chunk."""
        return self.chunks[0] - self.began

    @property
    def latency(self) -> float:
        """From the moment before the request is sent to its last chunk, not to the end of the connection."""
        return self.ended - self.began

    @property
    def gaps(self) -> list[float]:
        """ITL: between one chunk and the next, all of them, however many tokens a chunk carries."""
        return [after - before for before, after in pairwise(self.chunks)]

    @property
    def per_token(self) -> float | None:
        """TPOT: the time after the first chunk by each token but the first; none with less than two tokens."""
        if self.output_tokens < 2:
            return None
        return (self.latency - self.first_token) / (self.output_tokens - 1)

    def tokens_between(self, began: float, ended: float) -> float:
        """Output tokens that came in that time, those of a chunk being an equal part of all."""
        inside = sum(began <= at <= ended for at in self.chunks)
        return inside * (self.output_tokens or len(self.chunks)) / len(self.chunks) if inside else 0.0
