"""Many keys, three replicas, one real Redis: what a key gets of its limit in any ten minutes.

The clock is the test's own; with CAMPAIGN=full it is the Redis' own, and the test takes a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from llmservice_contract.policy import Store
from llmservice_runtime.rate_limits.shared import SharedLimiter
from support.campaign import FULL
from support.clocked_redis import START, clocked_redis
from support.limit_load import BOUNDED, ENDLESS, OPEN, Key, play
from support.redis_server import RedisServer

REPLICAS = 3
KEYS = 20 if FULL else 10
MOST_PERCENT = 2
HABITS = BOUNDED + OPEN + ENDLESS


def check(keys: list[Key]) -> None:
    worst = max(key.overrun_percent() for key in keys)
    print(f"worst of {len(keys)} keys in any 10 minutes: {worst:+.2f} %")
    assert worst <= MOST_PERCENT
    assert sum(key.denied for key in keys) > 25 * KEYS, "the limits were what bounded them"
    assert {name for key in keys for name in key.habits} == {habit.name for habit in HABITS}
    assert all(key.overrun_percent() > -60 for key in keys), "and they let most of it pass"


async def test_any_ten_minutes_stay_within_the_limit(tmp_path: Path) -> None:
    # Not the module's: the test below goes by the Redis' own clock.
    with clocked_redis(tmp_path) as clocked:
        await clocked.set(START)
        store = Store(clocked.server.address, prefix="load:")
        replicas = [SharedLimiter(store, batch_seconds=30) for _ in range(REPLICAS)]
        check(await play(replicas, clocked.set, START, 900, HABITS, KEYS))
        for each in replicas:
            await each.aclose()


@pytest.mark.campaign
async def test_any_ten_real_minutes_stay_within_the_limit(redis: RedisServer) -> None:
    replicas = [SharedLimiter(Store(redis.address), batch_seconds=30) for _ in range(REPLICAS)]
    begun = time.monotonic()

    async def set_clock(second: float) -> None:
        await asyncio.sleep(max(0.0, begun + second - time.monotonic()))

    check(await play(replicas, set_clock, 0.0, 900, HABITS, KEYS))
    for each in replicas:
        await each.aclose()
