"""What every rate limit has to keep, told by a list of all that happened.

Nothing here knows of slots: a limit is wrong if any 60 seconds hold more than it allows, if it refuses what fits into
the last 61, or if its times are off by more than a second. Times are multiples of 1/64 s, so sums of them are exact.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from llmservice_contract.policy import RateLimit
from llmservice_runtime.front.limits.limiter import Ask, Denial, Grant, Limiter

TICK = 1 / 64
LIMITS = [RateLimit(5, 100), RateLimit(3, None), RateLimit(None, 50), RateLimit(40, 1000)]


@dataclass(frozen=True)
class Step:
    """One ask, some time after the last; `settles` says what becomes of the grants that are still to be settled."""

    pause: float
    key: str
    limit: RateLimit
    requests: int
    tokens: int
    settles: list[int] = field(default_factory=list)
    waits: bool = False
    """Whether it asks again when it is told to, and a moment before."""


steps = st.lists(
    st.builds(
        Step,
        st.one_of(st.just(0.0), st.integers(1, 64), st.integers(1, 70 * 64)).map(lambda ticks: ticks * TICK),
        st.sampled_from("ab"),
        st.sampled_from(LIMITS),
        st.integers(0, 6),
        st.integers(0, 60),
        st.lists(st.integers(0, 80), max_size=3),
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
        self.now = start

    async def play(self, step: Step) -> None:
        """Settles, waits, asks, and checks the answer."""
        for tokens in step.settles:
            await self._settle(tokens)
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
        if isinstance(answer, Grant):
            event = _Event(key, self.now, requests, tokens)
            self._events.append(event)
            self._open.append((answer, event))
            assert self._used(key, "requests", 60) <= _bound(limit.requestsPerMinute)
            assert self._used(key, "tokens", 60) <= _bound(limit.tokensPerMinute)
        else:
            too_many = self._used(key, "requests", 61) + requests > _bound(limit.requestsPerMinute)
            too_long = self._used(key, "tokens", 61) + tokens > _bound(limit.tokensPerMinute)
            assert too_many or too_long, f"denied for nothing: {answer}"
            assert too_many if answer.what == "requests" else too_long
            assert answer.hopeless == (
                requests > _bound(limit.requestsPerMinute) or tokens > _bound(limit.tokensPerMinute)
            )
            assert 0 < answer.retry_after <= 60
        self._check_standing(answer, key, limit)
        return answer

    def _check_standing(self, answer: Grant | Denial, key: str, limit: RateLimit) -> None:
        stands = answer.standing
        for kind, most, remaining, reset in (
            ("requests", limit.requestsPerMinute, stands.remaining_requests, stands.reset_requests),
            ("tokens", limit.tokensPerMinute, stands.remaining_tokens, stands.reset_tokens),
        ):
            if most is None:
                assert remaining is None and reset is None
                continue
            assert remaining is not None and reset is not None
            assert max(0, most - self._used(key, kind, 61)) <= remaining <= max(0, most - self._used(key, kind, 60))
            last = max(
                (event.time for event in self._events if event.key == key and getattr(event, kind)), default=-99.0
            )
            assert max(0.0, last + 60 - self.now) <= reset <= max(0.0, last + 61 - self.now)

    async def _settle(self, tokens: int) -> None:
        if self._open:
            grant, event = self._open.pop(0)
            await self._limiter.settle(grant, tokens)
            event.tokens = tokens

    async def _at(self, time: float) -> None:
        self.now = time
        await self._set_clock(time)

    def _used(self, key: str, kind: str, seconds: float) -> int:
        return sum(
            getattr(event, kind) for event in self._events if event.key == key and event.time > self.now - seconds
        )


def _bound(limit: int | None) -> float:
    return float("inf") if limit is None else limit
