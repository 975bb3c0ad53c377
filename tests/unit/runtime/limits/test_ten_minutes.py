"""What keys get of their limits in any ten minutes, where one replica counts by itself; the clock is the test's own."""

from __future__ import annotations

import pytest

from llmservice_runtime.front.limits.memory import MemoryLimiter
from support.limit_load import BOUNDED, ENDLESS, ENDLESS_WITHOUT_STREAM, OPEN, Habit, Key, play

MOST_PERCENT = 2
HOUR = 3600


async def played(habits: tuple[Habit, ...], seconds: int, keys: int = 20) -> list[Key]:
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
    assert sum(key.denied for key in keys) > 500, "the limits were what bounded them"
    assert {name for key in keys for name in key.habits} == {habit.name for habit in habits}
    assert all(key.overrun_percent() > -60 for key in keys), "and they let most of it pass"


async def test_bounded_answers_stay_within_the_limit_in_any_minute() -> None:
    assert max(key.overrun_percent(60) for key in await played(BOUNDED, 900)) <= MOST_PERCENT


@pytest.mark.parametrize("at_once", [4, 20])
async def test_endless_streams_without_a_bound_stay_within_the_limit(at_once: int) -> None:
    keys = await played(ENDLESS * at_once, HOUR, keys=5)
    print(f"worst of any 10 minutes: {max(key.overrun_percent() for key in keys):+.2f} %")
    assert all(-20 < key.overrun_percent() <= MOST_PERCENT and key.ended for key in keys)


async def test_endless_answers_that_are_no_streams_are_paid_for_later() -> None:
    keys = await played(ENDLESS_WITHOUT_STREAM * 4, 2 * HOUR, keys=5)
    print(f"worst of any 10 minutes: {max(key.overrun_percent() for key in keys):+.0f} %")
    for key in keys:
        # Those that run when the limit is reached go on: four answers above it, in however long a time.
        assert sum(key.got) <= key.limit * 2 * 60 + 4 * (16_000 + 60)
        assert sum(key.got) >= key.limit * 2 * 60 * 0.7
