"""The interface of a rate limiter, independent of where it counts.

A request reserves tokens before it runs. While it runs, it is charged for its tokens at the time when it uses them, and
the rest of its reservation stays reserved. At its end the rest is released. When a request is granted, the tokens that
the key used in the last 60 seconds and those reserved for it never exceed the limit together. So requests that stay
within their reservations never exceed the limit in any 60 seconds.

Tokens beyond the limit (a request used more than it had reserved) are a debt: they count in the first later minutes
that have room for them. So over time a key never gets more than its limit, regardless of the length of its answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from llmservice_contract.policy import RateLimit

WINDOW_SECONDS = 60
SLOT_SECONDS = 1
MOST_PARTS = 64
"""One charge beyond the limit is spread over at most this many minutes."""
MOST_DEBT_SECONDS = 3600
"""A debt blocks a key for at most this time."""
NOT_COUNTED = -1
"""The slot of a grant that is not counted."""

Kind = Literal["requests", "tokens"]


class StoreUnavailable(Exception):
    """The shared store does not answer, or with an error; the text says why and contains no secret."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one request reserves."""

    key_id: str
    limit: RateLimit
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class LimitState:
    """The state of a key after a reservation. None if there is no such limit."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None
    """Seconds until the window is empty."""
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None


@dataclass(slots=True)
class Grant:
    """The request is granted; its reservation is counted in `slot`. The limiter updates this object."""

    ask: Ask
    standing: LimitState
    slot: int
    shared: bool
    """Whether the shared store counts it."""
    held: int = field(init=False)
    """Tokens that are still reserved."""
    exceeded: bool = field(default=False, init=False)
    """Whether its key had used more tokens than its limit, as of the last charge. Never while the store is away."""
    owed: int = field(default=0, init=False)
    """Tokens that were not sent to the shared store yet."""
    keeps: int = field(init=False)
    """Tokens that stay reserved after they are sent."""
    is_sending: bool = field(default=False, init=False)
    """Whether a charge is being sent to the shared store."""

    def __post_init__(self) -> None:
        self.held = self.keeps = self.ask.tokens


@dataclass(frozen=True, slots=True)
class Denial:
    """The request is denied; nothing of it is counted."""

    standing: LimitState
    retry_after: float
    """Seconds until the same request is granted, if no other one is granted before."""
    what: Kind
    """The limit with the longest wait."""
    hopeless: bool
    """The request exceeds the whole limit, so it is never granted."""


class Limiter(Protocol):
    """Counts for rate limits."""

    async def reserve(self, ask: Ask) -> Grant | Denial:
        """Reserves everything that the request asks for, or nothing. Raises StoreUnavailable."""

    def charge(self, grant: Grant, used: int, held: int) -> None:
        """Counts `used` more tokens at the current time; `held` tokens of the reservation stay reserved.

        A reservation that is not charged for WINDOW_SECONDS is dropped. Does not wait for a store, and never fails.
        """


def standing(
    limit: RateLimit, used_requests: int, used_tokens: int, reset_requests: float, reset_tokens: float
) -> LimitState:
    """The state of a key with this limit that has used this much."""
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
    """The denial of a request, from the seconds until each limit would grant it.

    A request that can never be granted gets the wait of a whole window.
    """
    if stands.limit_requests is not None and ask.requests > stands.limit_requests:
        return Denial(stands, float(WINDOW_SECONDS), "requests", hopeless=True)
    if stands.limit_tokens is not None and ask.tokens > stands.limit_tokens:
        return Denial(stands, float(WINDOW_SECONDS), "tokens", hopeless=True)
    what: Kind = "requests" if wait_requests >= wait_tokens else "tokens"
    return Denial(stands, max(wait_requests, wait_tokens), what, hopeless=False)
