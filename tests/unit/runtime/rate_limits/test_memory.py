"""Rate limits that a replica counts by itself."""

from __future__ import annotations

import asyncio

from hypothesis import given

from llmservice_contract.policy import RateLimit
from llmservice_runtime.rate_limits.limiter import Ask, Denial, Grant
from llmservice_runtime.rate_limits.memory import MemoryLimiter
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
    limiter.charge(grant, 40, 0)
    assert (await granted(limiter, ask(tokens=60))).standing.remaining_tokens == 0


async def test_tokens_above_the_estimate_make_the_next_ask_wait() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    limiter.charge(await granted(limiter, ask(tokens=10)), 250, 0)
    denial = await denied(limiter, ask(tokens=1))
    assert (denial.what, denial.standing.remaining_tokens, denial.retry_after) == ("tokens", 0, 120)


async def test_what_is_settled_after_its_minute_changes_nothing_of_the_next() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    late = await granted(limiter, ask(tokens=100))
    clock.now += 130
    await granted(limiter, ask(tokens=50, key="b"))
    await granted(limiter, ask(tokens=50))
    limiter.charge(late, 0, 0)
    assert (await granted(limiter, ask(tokens=50))).standing.remaining_tokens == 0


async def test_an_answer_that_outlives_the_window_counts_when_it_ends() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    late = await granted(limiter, ask(tokens=10))
    clock.now += 75
    limiter.charge(late, 100, 0)
    denial = await denied(limiter, ask(tokens=1))
    assert (denial.what, denial.standing.remaining_tokens, denial.retry_after) == ("tokens", 0, 60)


async def test_what_a_stream_uses_counts_from_when_it_is_used_and_the_rest_stays_reserved() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    stream = await granted(limiter, ask(tokens=100))
    for second in range(1, 91):
        clock.now = START + second
        limiter.charge(stream, 1, 100 - second)
        await denied(limiter, ask(requests=0, tokens=41 if second > 60 else 1))
    limiter.charge(stream, 0, 0)
    # Of 90 tokens those of the last 60 seconds count, and nothing of its reservation.
    assert (await granted(limiter, ask(requests=0, tokens=40))).standing.remaining_tokens == 0


async def test_a_debt_is_paid_by_one_limit_each_minute() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    limiter.charge(await granted(limiter, ask(tokens=0)), 950, 0)
    denial = await denied(limiter, ask(tokens=1))
    assert (denial.retry_after, denial.standing.reset_tokens) == (600 - 60, 600)
    clock.now = START + 60 * 9 - 1
    await denied(limiter, ask(tokens=1))
    clock.now = START + 60 * 9
    assert (await granted(limiter, ask(tokens=50))).standing.remaining_tokens == 0
    clock.now = START + 60 * 10
    assert (await granted(limiter, ask(tokens=100))).standing.remaining_tokens == 0


async def test_a_reservation_that_is_made_anew_makes_no_room_for_what_was_used() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    stream = await granted(limiter, ask(tokens=10))
    for second in range(60):
        clock.now = START + second
        limiter.charge(stream, 10, 10)
    limiter.charge(stream, 0, 0)
    assert stream.exceeded
    # 600 tokens are those of six minutes.
    assert 290 <= (await denied(limiter, ask(tokens=10))).retry_after <= 310


async def test_a_debt_keeps_a_key_waiting_for_about_an_hour_at_most() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    limiter.charge(await granted(limiter, ask(tokens=0)), 10**9, 0)
    denial = await denied(limiter, ask(tokens=1))
    assert 3600 <= denial.retry_after <= 3660
    clock.now += denial.retry_after
    await granted(limiter, ask(tokens=100))


async def test_a_reservation_that_is_kept_up_counts_for_as_long_as_its_request_runs() -> None:
    clock = Clock()
    limiter = MemoryLimiter(clock)
    slow = await granted(limiter, ask(tokens=60))
    for _ in range(10):
        clock.now += 20
        limiter.charge(slow, 0, 60)
        await denied(limiter, ask(tokens=41))
    clock.now += 60
    await granted(limiter, ask(tokens=100))


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
