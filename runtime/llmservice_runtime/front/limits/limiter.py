"""What is asked of a rate limit and what it answers, wherever it counts.

First a request reserves what it may take, then it settles for what it took. A limit counts what lies within the last
minute and nothing else, so it never lets more than itself pass in any 60 seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from llmservice_contract.policy import RateLimit

WINDOW_SECONDS = 60
SLOT_SECONDS = 1

Kind = Literal["requests", "tokens"]


class StoreUnavailable(Exception):
    """The shared store does not answer, or not as it should; the text says why and holds nothing secret."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one request may take."""

    key_id: str
    limit: RateLimit
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands after an ask. None: there is no such limit."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None
    """Seconds until none is counted any more."""
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """The request may go on; what it has reserved is counted in `slot`."""

    ask: Ask
    standing: Standing
    slot: int
    shared: bool
    """Whether the shared store counts it."""


@dataclass(frozen=True, slots=True)
class Denial:
    """The request may not go on now; nothing of it is counted."""

    standing: Standing
    retry_after: float
    """Seconds until the same ask is granted, if nothing else is until then."""
    what: Kind
    """The limit that takes longest to let it pass."""
    hopeless: bool
    """It asks for more than the whole limit, so it is never granted."""


class Limiter(Protocol):
    """Counts for rate limits."""

    async def reserve(self, ask: Ask) -> Grant | Denial:
        """Counts the whole ask or nothing. Raises StoreUnavailable."""

    async def settle(self, grant: Grant, tokens: int) -> None:
        """Counts these tokens in place of those that were reserved. Does not wait for a store, and never fails."""


def standing(
    limit: RateLimit, used_requests: int, used_tokens: int, reset_requests: float, reset_tokens: float
) -> Standing:
    """How a key with this limit stands that has used so much; the resets are what Standing says of them."""
    requests, tokens = limit.requestsPerMinute, limit.tokensPerMinute
    return Standing(
        requests,
        None if requests is None else max(0, requests - used_requests),
        None if requests is None else reset_requests,
        tokens,
        None if tokens is None else max(0, tokens - used_tokens),
        None if tokens is None else reset_tokens,
    )


def denial(ask: Ask, stands: Standing, wait_requests: float, wait_tokens: float) -> Denial:
    """Why this ask is not granted, from the seconds until either limit lets it pass.

    One without hope is told to wait for a whole window.
    """
    if stands.limit_requests is not None and ask.requests > stands.limit_requests:
        return Denial(stands, float(WINDOW_SECONDS), "requests", hopeless=True)
    if stands.limit_tokens is not None and ask.tokens > stands.limit_tokens:
        return Denial(stands, float(WINDOW_SECONDS), "tokens", hopeless=True)
    what: Kind = "requests" if wait_requests >= wait_tokens else "tokens"
    return Denial(stands, max(wait_requests, wait_tokens), what, hopeless=False)
