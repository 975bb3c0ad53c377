"""Rate limits that a replica counts by itself."""

from __future__ import annotations

import asyncio

from hypothesis import given

from llmservice_contract.policy import RateLimit
from llmservice_runtime.front.limits.limiter import Ask, Denial, Grant
from llmservice_runtime.front.limits.memory import MemoryLimiter
from support.limit_model import Model, Step, steps

START = 1000.0
LIMIT = RateLimit(2, 100)


class Clock:
    """Tells the time that it was set to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    async def set(self, now: float) -> None:
        self.now = now


def ask(requests: int = 1, tokens: int = 10, key: str = "a", limit: RateLimit = LIMIT) -> Ask:
    return Ask(key, limit, requests, tokens)


async def granted(limiter: MemoryLimiter, asked: Ask) -> Grant:
    answer = await limiter.reserve(asked)
    assert isinstance(answer, Grant), answer
    return answer


async def denied(limiter: MemoryLimiter, asked: Ask) -> Denial:
    answer = await limiter.reserve(asked)
    assert isinstance(answer, Denial), answer
    return answer


@given(steps)
def test_it_keeps_what_every_limit_has_to_keep(all_steps: list[Step]) -> None:
    clock = Clock()
    model = Model(MemoryLimiter(clock), clock.set, START)

    async def play() -> None:
        for step in all_steps:
            await model.play(step)

    asyncio.run(play())


async def test_a_full_window_at_the_end_of_a_minute_leaves_nothing_for_the_next_one() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    clock.now = START + 59.9
    await granted(limiter, ask(requests=2))
    for later in (0.2, 30.0, 59.99):
        clock.now = START + 59.9 + later
        await denied(limiter, ask())
    clock.now = START + 59.9 + 60
    await granted(limiter, ask(requests=2))


async def test_a_denied_ask_counts_nothing() -> None:
    limiter = MemoryLimiter(Clock())
    await granted(limiter, ask(tokens=90))
    assert (await denied(limiter, ask(tokens=11))).standing.remaining_requests == 1
    assert (await granted(limiter, ask(tokens=10))).standing.remaining_tokens == 0


async def test_tokens_that_were_not_used_are_given_back() -> None:
    limiter = MemoryLimiter(Clock())
    grant = await granted(limiter, ask(tokens=100))
    await denied(limiter, ask(tokens=1))
    await limiter.settle(grant, 40)
    assert (await granted(limiter, ask(tokens=60))).standing.remaining_tokens == 0


async def test_tokens_above_the_estimate_make_the_next_ask_wait() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    await limiter.settle(await granted(limiter, ask(tokens=10)), 250)
    denial = await denied(limiter, ask(tokens=1))
    assert (denial.what, denial.standing.remaining_tokens, denial.retry_after) == ("tokens", 0, 60)


async def test_what_is_settled_after_its_minute_changes_nothing_of_the_next() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    late = await granted(limiter, ask(tokens=100))
    clock.now += 130
    await granted(limiter, ask(tokens=50, key="b"))
    await granted(limiter, ask(tokens=50))
    await limiter.settle(late, 0)
    assert (await granted(limiter, ask(tokens=50))).standing.remaining_tokens == 0


async def test_more_than_the_whole_limit_is_hopeless() -> None:
    limiter = MemoryLimiter(Clock())
    assert (await denied(limiter, ask(requests=3))).hopeless
    denial = await denied(limiter, ask(tokens=101))
    assert (denial.hopeless, denial.what) == (True, "tokens")
    await granted(limiter, ask(requests=2, tokens=100))
    assert not (await denied(limiter, ask(requests=2, tokens=100))).hopeless


async def test_the_limit_that_takes_longest_is_the_one_that_is_named() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    await granted(limiter, ask(tokens=0))
    clock.now += 20
    await granted(limiter, ask(tokens=100))
    denial = await denied(limiter, ask(tokens=1))
    assert (denial.what, denial.retry_after) == ("tokens", 60)
    denial = await denied(limiter, ask(tokens=0))
    assert (denial.what, denial.retry_after) == ("requests", 40)


async def test_idle_keys_are_forgotten() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    for number in range(500):
        await limiter.reserve(ask(key=f"key{number}"))
    clock.now += 61
    await limiter.reserve(ask(key="another"))
    assert len(limiter) == 1
