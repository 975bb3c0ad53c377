"""A drain cuts nothing that has begun, takes nothing new once it refuses, and ends when it says."""

from __future__ import annotations

import asyncio

import pytest

from llmservice_runtime.gateway.drain import Drain, Report, drain_of_process

pytestmark = pytest.mark.looptime


def make_drain() -> Drain:
    return Drain(now=asyncio.get_running_loop().time)


async def test_without_a_stop_it_serves() -> None:
    drain = make_drain()
    drain.enter()
    assert (drain.ready, drain.refuses, drain.active) == (True, False, 1)


async def test_as_a_lame_duck_it_is_not_ready_and_takes_what_still_comes() -> None:
    drain = make_drain()
    course = asyncio.create_task(drain.drain(5, 30))
    await asyncio.sleep(4.9)
    assert (drain.ready, drain.refuses) == (False, False)
    await asyncio.sleep(0.2)
    assert drain.refuses
    assert await course == Report(drained=True, active=0, seconds=5)


async def test_watchers_are_called_at_each_step() -> None:
    drain = make_drain()
    seen: list[tuple[bool, bool]] = []
    drain.watch(lambda: seen.append((drain.ready, drain.refuses)))
    await drain.drain(5, 30)
    await drain.drain(5, 30)
    assert seen == [(False, False), (False, True)]


async def test_it_waits_for_the_last_request() -> None:
    drain = make_drain()
    drain.enter()
    drain.enter()
    course = asyncio.create_task(drain.drain(1, 30))
    await asyncio.sleep(8)
    drain.leave()
    await asyncio.sleep(2)
    assert not course.done()
    drain.leave()
    assert await course == Report(drained=True, active=0, seconds=10)


async def test_an_idle_moment_of_the_lame_duck_is_not_the_end() -> None:
    drain = make_drain()
    drain.enter()
    course = asyncio.create_task(drain.drain(5, 30))
    await asyncio.sleep(1)
    drain.leave()
    drain.enter()
    await asyncio.sleep(6)
    assert not course.done()
    drain.leave()
    assert (await course)["seconds"] == 7


async def test_it_gives_up_when_its_time_is_over_and_says_what_is_left() -> None:
    drain = make_drain()
    drain.enter()
    assert await drain.drain(5, 30) == Report(drained=False, active=1, seconds=35)
    assert drain.refuses


async def test_a_second_call_joins_the_first_and_later_ones_are_answered_at_once() -> None:
    drain = make_drain()
    drain.enter()
    first = asyncio.create_task(drain.drain(5, 30))
    await asyncio.sleep(1)
    second = asyncio.create_task(drain.drain(0, 0))
    await asyncio.sleep(9)
    drain.leave()
    assert await first == await second == Report(drained=True, active=0, seconds=10)
    assert await drain.drain(100, 100) == await first
    assert asyncio.get_running_loop().time() == pytest.approx(10)


async def test_a_caller_that_goes_away_does_not_stop_it() -> None:
    drain = make_drain()
    caller = asyncio.create_task(drain.drain(5, 30))
    await asyncio.sleep(1)
    caller.cancel()
    await asyncio.sleep(5)
    assert drain.refuses


async def test_front_and_plugin_see_the_same_one() -> None:
    assert drain_of_process() is drain_of_process()
