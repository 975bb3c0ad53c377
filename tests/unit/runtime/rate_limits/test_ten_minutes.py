"""What keys get of their limits in any ten minutes, where one replica counts by itself; the clock is the test's own."""

from __future__ import annotations

import pytest

from llmservice_runtime.rate_limits.memory import MemoryLimiter
from support.campaign import FULL
from support.limit_load import BOUNDED, ENDLESS, ENDLESS_UNCOUNTED, ENDLESS_WITHOUT_STREAM, OPEN, Habit, Key, play

MOST_PERCENT = 2
LONG = 3600 if FULL else 1500
KEYS = 20 if FULL else 10


async def played(habits: tuple[Habit, ...], seconds: int, keys: int = KEYS) -> list[Key]:
    now = 1000.0

    async def set_clock(time: float) -> None:
        nonlocal now
        now = time

    return await play([MemoryLimiter(lambda: now)], set_clock, now, seconds, habits, keys)


@pytest.mark.parametrize("habits", [OPEN * 3, BOUNDED + OPEN + ENDLESS], ids=["open", "all"])
async def test_any_ten_minutes_stay_within_the_limit(habits: tuple[Habit, ...]) -> None:
    keys = await played(habits, 1200)
    worst = max(key.overrun_percent() for key in keys)
    print(f"worst of {len(keys)} keys in any 10 minutes: {worst:+.2f} %")
    assert worst <= MOST_PERCENT
    assert sum(key.denied for key in keys) > 25 * KEYS, "the limits were what bounded them"
    assert {name for key in keys for name in key.habits} == {habit.name for habit in habits}
    assert all(key.overrun_percent() > -60 for key in keys), "and they let most of it pass"


async def test_bounded_answers_stay_within_the_limit_in_any_minute() -> None:
    assert max(key.overrun_percent(60) for key in await played(BOUNDED, 900)) <= MOST_PERCENT


@pytest.mark.parametrize("at_once", [4, 20])
@pytest.mark.parametrize("habits", [ENDLESS, ENDLESS_WITHOUT_STREAM, ENDLESS_UNCOUNTED], ids=lambda each: each[0].name)
async def test_endless_answers_without_a_bound_stay_within_the_limit(habits: tuple[Habit, ...], at_once: int) -> None:
    keys = await played(habits * at_once, LONG, keys=5)
    print(f"worst of any 10 minutes: {max(key.overrun_percent() for key in keys):+.2f} %")
    assert all(-40 < key.overrun_percent() <= MOST_PERCENT and key.ended for key in keys)


async def test_endless_streams_stay_within_the_limit_in_any_minute() -> None:
    keys = await played(ENDLESS * 8, LONG, keys=5)
    assert max(key.overrun_percent(60) for key in keys) <= MOST_PERCENT
