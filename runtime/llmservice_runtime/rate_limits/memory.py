"""Rate limits that one replica counts alone. A key without requests for a minute is forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable

from llmservice_contract.policy import RateLimit
from llmservice_runtime.rate_limits.limiter import WINDOW_SECONDS, Ask, Denial, Grant, LimitState, denial, standing
from llmservice_runtime.rate_limits.window import Window


class MemoryLimiter:
    """A Limiter that never fails. The cost of a call does not depend on the number of earlier requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self._sweep_at = clock() + WINDOW_SECONDS

    def __len__(self) -> int:
        """Number of keys with counts."""
        return len(self._windows)

    async def reserve(self, ask: Ask) -> Grant | Denial:
        """See Limiter."""
        now = self._clock()
        if now >= self._sweep_at:
            self._forget_idle(now)
        window = self._window(ask.key_id, now)
        requests, tokens = ask.limit.requests_per_minute, ask.limit.tokens_per_minute
        wait_requests = 0.0 if requests is None else window.wait(now, "requests", requests - ask.requests)
        wait_tokens = 0.0 if tokens is None else window.wait(now, "tokens", tokens - ask.tokens)
        if _exceeds(window.requests + ask.requests, requests) or _exceeds(window.tokens + ask.tokens, tokens):
            return denial(ask, _standing(window, ask.limit, now), wait_requests, wait_tokens)
        slot = window.add(now, ask.requests, ask.tokens)
        return Grant(ask, _standing(window, ask.limit, now), slot, shared=False)

    def charge(self, grant: Grant, used: int, held: int) -> None:
        """See Limiter."""
        if not (used or held or grant.held):
            return
        now, limit = self._clock(), grant.ask.limit.tokens_per_minute
        window = self._window(grant.ask.key_id, now)
        grant.slot = window.charge(now, grant.slot, grant.held, used, held, limit)
        grant.held, grant.exceeded = held, _exceeds(window.tokens, limit)

    def _window(self, key_id: str, now: float) -> Window:
        window = self._windows.get(key_id)
        if window is None:
            # Numbers that start with the time are never reused for a key, even after it was forgotten.
            window = self._windows[key_id] = Window(int(now * 1000))
        window.forget(now)
        return window

    def _forget_idle(self, now: float) -> None:
        self._sweep_at = now + WINDOW_SECONDS
        self._windows = {key_id: window for key_id, window in self._windows.items() if not window.is_empty(now)}


def _standing(window: Window, limit: RateLimit, now: float) -> LimitState:
    resets = window.reset(now, "requests"), window.reset(now, "tokens")
    return standing(limit, window.requests, window.tokens, *resets)


def _exceeds(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit
