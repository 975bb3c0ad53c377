"""The interface of a rate limiter, wherever it counts.

A request reserves tokens before it runs. While it runs, it is charged for what it uses as of when it uses it, and the
rest of its reservation stays reserved. At its end the rest is released. What a key used in the last 60 seconds and what
is reserved for it together never exceed the limit when a request is granted, so requests that stay within their
reservations never exceed the limit in any 60 seconds.

Tokens beyond the limit (a request used more than it had reserved) are a debt: they count in the first later minutes
that have room for them. So in the long run a key gets its limit and no more, however long its answers are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from llmservice_contract.policy import RateLimit

WINDOW_SECONDS = 60
SLOT_SECONDS = 1
MOST_PARTS = 64
"""One charge beyond the limit is spread over so many minutes at most."""
MOST_DEBT_SECONDS = 3600
"""A debt keeps a key waiting for so long at most."""
NOT_COUNTED = -1
"""The slot of a grant that nothing counts."""

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
class LimitState:
    """The state of a key after a reservation. None: there is no such limit."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None
    """Seconds until nothing is counted any more."""
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None


@dataclass(slots=True)
class Grant:
    """The request may go on; what is reserved for it is counted in `slot`. The limiter keeps it up to date."""

    ask: Ask
    standing: LimitState
    slot: int
    shared: bool
    """Whether the shared store counts it."""
    held: int = field(init=False)
    """Tokens that are still reserved for it."""
    exceeded: bool = field(default=False, init=False)
    """Whether its key had used more tokens than its limit, as of the last charge. Never while the store is away."""
    owed: int = field(default=0, init=False)
    """Tokens that the shared store does not know yet."""
    keeps: int = field(init=False)
    """Tokens that stay reserved once it knows."""
    is_told: bool = field(default=False, init=False)
    """Whether a charge is on its way to the shared store."""

    def __post_init__(self) -> None:
        self.held = self.keeps = self.ask.tokens


@dataclass(frozen=True, slots=True)
class Denial:
    """The request may not go on now; nothing of it is counted."""

    standing: LimitState
    retry_after: float
    """Seconds until the same ask is granted, if nothing else is until then."""
    what: Kind
    """The limit that takes longest to let it pass."""
    hopeless: bool
    """It needs more than the whole limit, so it is never granted."""


class Limiter(Protocol):
    """Counts for rate limits."""

    async def reserve(self, ask: Ask) -> Grant | Denial:
        """Counts the whole ask or nothing. Raises StoreUnavailable."""

    def charge(self, grant: Grant, used: int, held: int) -> None:
        """Counts `used` more tokens as of now; of the reservation `held` tokens remain, reserved as of now too.

        A reservation that is not charged for WINDOW_SECONDS is dropped. Does not wait for a store, and never fails.
        """


def standing(
    limit: RateLimit, used_requests: int, used_tokens: int, reset_requests: float, reset_tokens: float
) -> LimitState:
    """How a key with this limit stands that has used so much; the resets are what Standing says of them."""
    requests, tokens = limit.requests_per_minute, limit.tokens_per_minute
    return LimitState(
        requests,
        None if requests is None else max(0, requests - used_requests),
        None if requests is None else reset_requests,
        tokens,
        None if tokens is None else max(0, tokens - used_tokens),
        None if tokens is None else reset_tokens,
    )


def denial(ask: Ask, stands: LimitState, wait_requests: float, wait_tokens: float) -> Denial:
    """Why this ask is not granted, from the seconds until either limit lets it pass.

    One that can't succeed gets a wait of a whole window.
    """
    if stands.limit_requests is not None and ask.requests > stands.limit_requests:
        return Denial(stands, float(WINDOW_SECONDS), "requests", hopeless=True)
    if stands.limit_tokens is not None and ask.tokens > stands.limit_tokens:
        return Denial(stands, float(WINDOW_SECONDS), "tokens", hopeless=True)
    what: Kind = "requests" if wait_requests >= wait_tokens else "tokens"
    return Denial(stands, max(wait_requests, wait_tokens), what, hopeless=False)
