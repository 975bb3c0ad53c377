"""The script that keeps the counts of a key in the store, its arguments and its reply."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from llmservice_contract.policy import RateLimit
from llmservice_runtime.rate_limits.limiter import (
    MOST_DEBT_SECONDS,
    MOST_PARTS,
    SLOT_SECONDS,
    WINDOW_SECONDS,
    Ask,
    LimitState,
    standing,
)

MICROSECONDS = 1_000_000
SCRIPT = (
    f"local WINDOW, SLOT = {WINDOW_SECONDS * MICROSECONDS}, {SLOT_SECONDS * MICROSECONDS}\n"
    f"local MOST_PARTS, MOST_DEBT = {MOST_PARTS}, {MOST_DEBT_SECONDS * MICROSECONDS}\n"
    + (files(__package__) / "window.lua").read_text()
)


@dataclass(frozen=True, slots=True)
class Call:
    """One run of the script."""

    key: str
    """The only hash that the script accesses."""
    arguments: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ScriptReply:
    """What the script answers to a reservation."""

    granted: bool
    slot: int
    used_requests: int
    used_tokens: int
    reset_requests: float
    reset_tokens: float
    wait_requests: float
    """Seconds until the limit of requests would grant the request."""
    wait_tokens: float

    def standing(self, limit: RateLimit) -> LimitState:
        """The state of the key."""
        return standing(limit, self.used_requests, self.used_tokens, self.reset_requests, self.reset_tokens)


def digest(script: str) -> str:
    """The name under which a store keeps a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def reserve(key: str, ask: Ask) -> Call:
    """The call that reserves everything or nothing."""
    return Call(key, ("reserve", ask.requests, ask.tokens, *_limits(ask.limit)))


def look(key: str) -> Call:
    """The call of a probe: reserves nothing, but uses every command that a reservation needs."""
    return Call(key, ("reserve", 0, 0, *_limits(RateLimit())))


def charge(key: str, slot: int, ask: Ask, taken: int, used: int = 0, held: int = 0) -> Call:
    """The call that removes a reservation, counts used tokens and reserves `held`; see Window.charge.

    Its reply: the slot of the new reservation, and 1 if the key has used more tokens than its limit.
    """
    return Call(key, ("charge", slot, taken, used, held, _limits(ask.limit)[1]))


def verdict(reply: Sequence[int]) -> ScriptReply:
    """The grant or denial in the reply of a reservation."""
    granted, slot, requests, tokens, *times = reply
    return ScriptReply(bool(granted), slot, requests, tokens, *(each / MICROSECONDS for each in times))


def _limits(limit: RateLimit) -> tuple[int, int]:
    return (
        -1 if limit.requests_per_minute is None else limit.requests_per_minute,
        -1 if limit.tokens_per_minute is None else limit.tokens_per_minute,
    )
