"""The invariants of every rate limit, checked on a list of all events.

It is independent of slots. A limiter is wrong if it grants a request with which any 60 seconds exceed the limit, or the
last k minutes exceed k limits (k + 1 after a debt); if it refuses a request that fits into the last 61 seconds; or if
its times are wrong by more than a second. Times are multiples of 1/64 s, so sums of them are exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from llmservice_contract.policy import RateLimit
from llmservice_runtime.rate_limits.limiter import Ask, Denial, Grant, Limiter

TICK = 1 / 64
LIMITS = [RateLimit(5, 100), RateLimit(3, None), RateLimit(None, 50), RateLimit(40, 1000)]
STEADY = "c"
"""A key whose limit never changes."""


@dataclass(frozen=True)
class Step:
    """One ask, some time after the last; `charges` are of the grants that have not ended, oldest first."""

    pause: float
    key: str
    limit: RateLimit
    requests: int
    tokens: int
    charges: list[tuple[int, int]] = field(default_factory=list)
    """Tokens used, and the percentage of its reservation that a request keeps; with 0 it has ended."""
    waits: bool = False
    """Whether it retries after Retry-After, and just before."""


def _step(pause: float, key: str, limit: RateLimit, *rest: object) -> Step:
    return Step(pause, key, LIMITS[0] if key == STEADY else limit, *rest)  # type: ignore[arg-type]


steps = st.lists(
    st.builds(
        _step,
        st.one_of(st.just(0.0), st.integers(1, 64), st.integers(1, 70 * 64)).map(lambda ticks: ticks * TICK),
        st.sampled_from("abc"),
        st.sampled_from(LIMITS),
        st.integers(0, 6),
        st.integers(0, 60),
        st.lists(st.tuples(st.integers(0, 80), st.sampled_from([0, 0, 50, 100])), max_size=3),
        st.booleans(),
    ),
    max_size=40,
)


@dataclass
class _Event:
    key: str
    time: float
    requests: int
    tokens: int


class Model:
    """All that was granted, and the checks of each answer."""

    def __init__(self, limiter: Limiter, set_clock: Callable[[float], Awaitable[None]], start: float) -> None:
        self._limiter = limiter
        self._set_clock = set_clock
        self._events: list[_Event] = []
        self._open: list[tuple[Grant, _Event]] = []
        self._indebted: set[str] = set()
        """Keys that have used more than they had reserved and than their limit allows."""
        self.now = start

    async def play(self, step: Step) -> None:
        """Charges, waits, asks, and checks the answer."""
        for used, kept in step.charges:
            await self._charge(used, kept)
        await self._at(self.now + step.pause)
        answer = await self.ask(step.key, step.limit, step.requests, step.tokens)
        if isinstance(answer, Denial) and step.waits and not answer.hopeless:
            granted_at = self.now + answer.retry_after
            await self._at(granted_at - TICK)
            early = await self.ask(step.key, step.limit, step.requests, step.tokens)
            assert isinstance(early, Denial), f"granted before retry_after: {early}"
            await self._at(granted_at)
            again = await self.ask(step.key, step.limit, step.requests, step.tokens)
            assert isinstance(again, Grant), f"denied at retry_after: {again}"

    async def ask(self, key: str, limit: RateLimit, requests: int, tokens: int) -> Grant | Denial:
        """One ask whose answer is checked."""
        answer = await self._limiter.reserve(Ask(key, limit, requests, tokens))
        indebted = key in self._indebted
        if isinstance(answer, Grant):
            event = _Event(key, self.now, requests, tokens)
            self._events.append(event)
            self._open.append((answer, event))
            assert self._used(key, "requests", 60) <= _bound(limit.requests_per_minute)
            assert self._used(key, "tokens", 60) <= _bound(limit.tokens_per_minute)
            for minutes in range(2, 40 if key == STEADY else 2):
                # A reservation that is used late counts late, while debts were placed as if it had been used at once.
                most = (minutes + 1 if indebted else minutes) * _bound(limit.tokens_per_minute)
                assert self._used(key, "tokens", 60 * minutes) <= most
        else:
            too_many = self._used(key, "requests", 61) + requests > _bound(limit.requests_per_minute)
            too_long = indebted or self._used(key, "tokens", 61) + tokens > _bound(limit.tokens_per_minute)
            assert too_many or too_long, f"denied for nothing: {answer}"
            assert too_many if answer.what == "requests" else too_long
            assert answer.hopeless == (
                requests > _bound(limit.requests_per_minute) or tokens > _bound(limit.tokens_per_minute)
            )
            assert answer.retry_after > 0 and (answer.retry_after <= 60 or indebted)
        self._check_standing(answer, key, limit)
        return answer

    def _check_standing(self, answer: Grant | Denial, key: str, limit: RateLimit) -> None:
        stands, indebted = answer.standing, key in self._indebted
        for kind, most, remaining, reset in (
            ("requests", limit.requests_per_minute, stands.remaining_requests, stands.reset_requests),
            ("tokens", limit.tokens_per_minute, stands.remaining_tokens, stands.reset_tokens),
        ):
            if most is None:
                assert remaining is None and reset is None
                continue
            assert remaining is not None and reset is not None
            assert remaining <= max(0, most - self._used(key, kind, 60))
            last = max(
                (event.time for event in self._events if event.key == key and getattr(event, kind)), default=-99.0
            )
            assert max(0.0, last + 60 - self.now) <= reset
            if kind == "requests" or not indebted:
                assert remaining >= max(0, most - self._used(key, kind, 61))
                assert reset <= max(0.0, last + 61 - self.now)

    async def _charge(self, used: int, kept: int) -> None:
        if not self._open:
            return
        grant, held = self._open.pop(0)
        keeps = held.tokens * kept // 100
        within = held.tokens if held.time > self.now - 60 else 0
        await charge(self._limiter, grant, used, keeps)
        held.tokens = 0
        now_held = _Event(held.key, self.now, 0, keeps)
        self._events += [_Event(held.key, self.now, 0, used), now_held]
        if used + keeps > within:
            self._indebted.add(held.key)
        if kept:
            self._open.append((grant, now_held))

    async def _at(self, time: float) -> None:
        self.now = time
        await self._set_clock(time)

    def _used(self, key: str, kind: str, seconds: float) -> int:
        return sum(
            getattr(event, kind) for event in self._events if event.key == key and event.time > self.now - seconds
        )


async def charge(limiter: Limiter, grant: Grant, used: int, held: int) -> None:
    """Returns once it has been counted, also where a store counts."""
    limiter.charge(grant, used, held)
    while grant.is_sending:  # noqa: ASYNC110 - a reply of the store makes it false
        await asyncio.sleep(0)


def _bound(limit: int | None) -> float:
    return float("inf") if limit is None else limit
