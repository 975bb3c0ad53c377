"""The books in the store keep what the books in memory keep; the clock is the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from llmservice_contract.policy import RateLimit
from llmservice_runtime.rate_limits.limiter import Ask, Denial, Grant
from llmservice_runtime.rate_limits.shared import SharedLimiter
from support.clocked_redis import START, ClockedRedis
from support.limit_model import Model, Step, charge, steps

ASK = Ask("a", RateLimit(2, 100), 1, 50)


@pytest.fixture
async def limiter(clocked: ClockedRedis) -> AsyncIterator[SharedLimiter]:
    await clocked.set(START)
    limiter = clocked.limiter()
    yield limiter
    await limiter.aclose()


@settings(max_examples=60)
@given(steps)
def test_it_keeps_what_every_limit_has_to_keep(clocked: ClockedRedis, all_steps: list[Step]) -> None:
    async def play() -> None:
        await clocked.set(START)
        limiter = clocked.limiter()
        model = Model(limiter, clocked.set, START)
        for step in all_steps:
            await model.play(step)
        await limiter.aclose()

    asyncio.run(play())


async def test_a_clock_that_was_set_back_a_little_lets_nothing_more_pass(
    clocked: ClockedRedis, limiter: SharedLimiter
) -> None:
    assert isinstance(await limiter.reserve(ASK), Grant)
    await clocked.set(START - 30)
    assert isinstance(await limiter.reserve(ASK), Grant)
    assert isinstance(await limiter.reserve(ASK), Denial)
    await clocked.set(START + 59)
    assert isinstance(await limiter.reserve(ASK), Denial)
    await clocked.set(START + 60)
    assert isinstance(await limiter.reserve(ASK), Grant)


async def test_a_clock_that_was_set_back_far_shuts_nobody_out(clocked: ClockedRedis, limiter: SharedLimiter) -> None:
    for _ in range(2):
        before = await limiter.reserve(ASK)
    assert isinstance(before, Grant)
    await clocked.set(START - 7200)
    after = await limiter.reserve(ASK)
    assert isinstance(after, Grant) and after.standing.remaining_requests == 1
    await charge(limiter, before, 0, 0)
    last = await limiter.reserve(ASK)
    assert isinstance(last, Grant) and last.standing.remaining_tokens == 0


async def test_an_old_grant_takes_nothing_from_a_hash_that_began_anew(
    clocked: ClockedRedis, limiter: SharedLimiter
) -> None:
    old = await limiter.reserve(ASK)
    assert isinstance(old, Grant)
    clocked.client.flushall()
    await clocked.set(START + 1)
    await limiter.reserve(ASK)
    await charge(limiter, old, 0, 0)
    fresh = await limiter.reserve(ASK)
    assert isinstance(fresh, Grant) and fresh.standing.remaining_tokens == 0


async def test_a_key_never_has_more_than_a_window_of_slots(
    clocked: ClockedRedis, limiter: SharedLimiter, tmp_path: Path
) -> None:
    many = Ask("busy", RateLimit(10**6, 10**9), 1, 1000)
    for second in range(200):
        await clocked.set(START + second * 1.015625)
        grant = await limiter.reserve(many)
        assert isinstance(grant, Grant)
        await charge(limiter, grant, 900, 100)
    [name] = clocked.client.keys("*rate:busy")
    assert clocked.client.hlen(name) <= 7 + 61
    assert 0 < clocked.client.pttl(name) <= 60_000


async def test_an_answer_that_outlives_the_window_counts_when_it_ends(
    clocked: ClockedRedis, limiter: SharedLimiter
) -> None:
    late = await limiter.reserve(ASK)
    assert isinstance(late, Grant)
    await clocked.set(START + 75)
    await charge(limiter, late, 100, 0)
    denial = await limiter.reserve(ASK)
    assert isinstance(denial, Denial)
    assert (denial.what, denial.standing.remaining_tokens, denial.retry_after) == ("tokens", 0, 60)


async def test_a_debt_is_paid_by_one_limit_each_minute(clocked: ClockedRedis, limiter: SharedLimiter) -> None:
    grant = await limiter.reserve(Ask("debtor", ASK.limit, 1, 0))
    assert isinstance(grant, Grant)
    await charge(limiter, grant, 950, 0)
    assert grant.exceeded
    [name] = clocked.client.keys("*rate:debtor")
    assert 540_000 < clocked.client.pttl(name) <= 600_000
    denial = await limiter.reserve(replace(ASK, key_id="debtor"))
    assert isinstance(denial, Denial) and denial.retry_after == 540 and denial.standing.reset_tokens == 600
    await clocked.set(START + 539)
    assert isinstance(await limiter.reserve(replace(ASK, key_id="debtor")), Denial)
    await clocked.set(START + 540)
    assert isinstance(await limiter.reserve(replace(ASK, key_id="debtor")), Grant)


async def test_a_debt_takes_a_bounded_place(clocked: ClockedRedis, limiter: SharedLimiter) -> None:
    grant = await limiter.reserve(Ask("endless", RateLimit(None, 1), 1, 0))
    assert isinstance(grant, Grant)
    for second in range(200):
        await clocked.set(START + second)
        await charge(limiter, grant, 10**6, 0)
    [name] = clocked.client.keys("*rate:endless")
    assert clocked.client.hlen(name) <= 7 + 61 + 3661
    await clocked.set(START + 2 * 3600)
    assert isinstance(await limiter.reserve(Ask("endless", RateLimit(None, 1), 1, 1)), Grant)
