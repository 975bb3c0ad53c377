"""The work queue: never twice at a time, nothing lost, failures wait longer and longer. Time is simulated."""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from llmservice_operator.controller.workqueue import LONGEST_BACKOFF, WorkQueue
from support.campaign import FULL

pytestmark = pytest.mark.looptime


@contextlib.asynccontextmanager
async def running(work: Callable[[str], Awaitable[float | None]], workers: int = 4) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue(work, workers=workers, jitter=lambda: 1.0)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        queue.stop()
        await task


async def test_a_key_that_is_added_again_while_it_is_worked_on_runs_once_more() -> None:
    runs = 0

    async def work(key: str) -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(10)

    async with running(work) as queue:
        queue.add("a")
        await asyncio.sleep(1)
        for _ in range(5):
            queue.add("a")
        await asyncio.sleep(100)
    assert runs == 2


async def test_namespaces_take_turns() -> None:
    seen: list[tuple[str, str]] = []

    async def work(key: tuple[str, str]) -> None:
        seen.append(key)
        await asyncio.sleep(1)

    queue: WorkQueue[tuple[str, str]] = WorkQueue(work, workers=1)
    for number in range(1000):
        queue.add(("hostile", str(number)))
    for name in "ab":
        queue.add(("good", name))
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(3.5)
    assert seen == [("hostile", "0"), ("good", "a"), ("hostile", "1"), ("good", "b")]
    queue.add(("other", "c"))
    await asyncio.sleep(2)
    assert seen[-2:] == [("hostile", "2"), ("other", "c")]
    await asyncio.sleep(1000)
    assert len(seen) == 1003
    queue.stop()
    await task


async def test_additions_while_a_key_waits_for_a_worker_are_one() -> None:
    seen: Counter[str] = Counter()

    async def work(key: str) -> None:
        seen[key] += 1
        await asyncio.sleep(1)

    async with running(work, workers=1) as queue:
        for _ in range(3):
            for key in "abc":
                queue.add(key)
        await asyncio.sleep(100)
    assert seen == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("seed", range(20 if FULL else 8))
async def test_whatever_happens_no_key_runs_twice_at_a_time_and_none_is_lost(seed: int) -> None:
    chance = random.Random(seed)
    active: Counter[str] = Counter()
    latest_seen: dict[str, int] = {}
    latest_added: dict[str, int] = {}

    async def work(key: str) -> float | None:
        active[key] += 1
        assert active[key] == 1, f"{key} is worked on twice at the same time"
        seen = latest_added.get(key, 0)
        await asyncio.sleep(chance.uniform(0, 3))
        active[key] -= 1
        if chance.random() < 0.2:
            raise RuntimeError("by chance")
        latest_seen[key] = seen
        return chance.choice([None, 5.0])

    async with running(work, workers=3) as queue:
        for number in range(300):
            key = chance.choice("abcdefgh")
            latest_added[key] = number
            chance.choice([queue.add, lambda key: queue.add_after(key, chance.uniform(0, 2))])(key)
            await asyncio.sleep(chance.uniform(0, 0.5))
        await asyncio.sleep(2000)
        assert latest_seen == latest_added


async def test_failures_wait_longer_each_time_up_to_five_minutes_and_success_forgets_them() -> None:
    times: list[float] = []
    broken = True

    async def work(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        if broken:
            raise RuntimeError("no")

    async with running(work) as queue:
        queue.add("a")
        await asyncio.sleep(3000)
        waits = [after - before for before, after in itertools.pairwise(times)]
        assert waits[:4] == pytest.approx([1, 2, 4, 8], abs=0.1)
        assert max(waits) == pytest.approx(LONGEST_BACKOFF, abs=0.1)
        broken = False
        queue.add("a")
        await asyncio.sleep(1)
        broken = True
        times.clear()
        queue.add("a")
        await asyncio.sleep(1.5)
        assert len(times) == 2, "after a success the first repetition comes after a second again"


async def test_an_event_brings_forward_a_key_that_waits_after_a_failure() -> None:
    times: list[float] = []

    async def work(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        raise RuntimeError("no")

    async with running(work) as queue:
        queue.add("a")
        await asyncio.sleep(100)
        times.clear()
        queue.add("a")
        await asyncio.sleep(0.5)
        assert len(times) == 1


async def test_events_do_not_make_a_key_wait_longer_after_a_failure() -> None:
    times: list[float] = []

    async def work(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        raise RuntimeError("no")

    async with running(work) as queue:
        for _ in range(20):
            queue.add("a")
            await asyncio.sleep(0.1)
        times.clear()
        await asyncio.sleep(1.5)
        assert len(times) == 1


async def test_the_server_s_wish_to_wait_is_honoured() -> None:
    times: list[float] = []

    class Busy(Exception):
        retry_after = 40.0

    async def work(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        raise Busy

    async with running(work) as queue:
        queue.add("a")
        await asyncio.sleep(39)
        assert len(times) == 1
        await asyncio.sleep(2)
        assert len(times) == 2


async def test_a_key_comes_again_when_its_work_asked_for_it_and_the_earlier_wish_wins() -> None:
    times: list[float] = []

    async def work(key: str) -> float:
        times.append(asyncio.get_running_loop().time())
        return 30.0

    async with running(work) as queue:
        begin = asyncio.get_running_loop().time()
        queue.add("a")
        await asyncio.sleep(1)
        queue.add_after("a", 100)
        queue.add_after("a", 10)
        queue.add_after("a", 20)
        await asyncio.sleep(50)
        assert [time - begin for time in times] == pytest.approx([0, 11, 41], abs=0.1)


async def test_stopping_lets_work_in_flight_end_and_starts_nothing_more() -> None:
    ended: list[str] = []

    async def work(key: str) -> None:
        await asyncio.sleep(3)
        ended.append(key)

    queue: WorkQueue[str] = WorkQueue(work, workers=1)
    task = asyncio.create_task(queue.run())
    queue.add("a")
    queue.add("b")
    await asyncio.sleep(1)
    queue.stop()
    await task
    assert ended == ["a"]


async def test_stuck_work_can_be_seen() -> None:
    async def work(key: str) -> None:
        await asyncio.sleep(1000)

    async with running(work) as queue:
        assert queue.longest_running() == 0
        queue.add("a")
        await asyncio.sleep(400)
        assert queue.longest_running() == pytest.approx(400, abs=1)


def test_a_key_that_is_due_at_once_is_worked_on_by_the_operators_own_loop_too() -> None:
    """Its handles of what is due at once know no time."""
    worked = 0

    async def work(key: str) -> float | None:
        nonlocal worked
        worked += 1
        if worked == 2:
            queue.stop()
        return 1e-6

    queue: WorkQueue[str] = WorkQueue(work, workers=1, jitter=lambda: 1.0)

    async def main() -> None:
        queue.add_after("a", 1e-6)
        queue.add_after("a", 0.0)
        await asyncio.wait_for(queue.run(), 60)

    uvloop.run(main())
    assert worked == 2
