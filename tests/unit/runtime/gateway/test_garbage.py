"""What failed requests leave in cycles is freed, by searches that take a bounded part of the time."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from llmservice_runtime.gateway.garbage import COLLECT_BYTES, PAUSE, Garbage

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}] * 1000, "max_tokens": 1}).encode()


class Parsed:
    """What the application makes of a body."""


@pytest.fixture
def no_search() -> Iterator[None]:
    """Python begins none by itself, as it may not for hundreds of requests."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


async def fail(kept: weakref.WeakSet[Parsed]) -> None:
    """As vLLM's handlers do: the task that has failed is in a frame of its own exception."""

    async def handle() -> None:
        parsed = Parsed()
        kept.add(parsed)
        await asyncio.sleep(0)
        raise ValueError

    handling = asyncio.create_task(handle())
    await asyncio.wait([handling])
    await handling


@pytest.mark.usefixtures("no_search")
async def test_failed_requests_keep_no_memory(house: Any) -> None:
    kept: weakref.WeakSet[Parsed] = weakref.WeakSet()

    async def refuse(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await fail(kept)
        except ValueError:
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    house.app.answer = refuse
    most = 0
    # A search that took long, because the machine is busy, is followed by a long pause.
    for _ in range(100 * COLLECT_BYTES // len(BODY)):
        assert (await house.ask("POST", "/v1/chat/completions", BODY)).status == 400
        if len(kept) < most:
            break
        most = len(kept)
    assert len(kept) < most, "a search has freed them"


class Clock:
    """A search takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds, self.searches = 0.0, seconds, 0

    def search(self) -> None:
        self.searches += 1
        self.now += self.seconds


def test_small_bodies_begin_no_search() -> None:
    clock = Clock(0.01)
    garbage = Garbage(clock.search, lambda: clock.now)
    for _ in range(3):
        garbage.add(COLLECT_BYTES // 4)
    assert clock.searches == 0
    garbage.add(COLLECT_BYTES // 4)
    assert clock.searches == 1


def test_searches_take_a_bounded_part_of_the_time() -> None:
    clock = Clock(0.01)
    garbage = Garbage(clock.search, lambda: clock.now)
    for _ in range(1000):
        garbage.add(COLLECT_BYTES)
        clock.now += 0.001
    assert 2 <= clock.searches <= 1 + clock.now / (PAUSE * clock.seconds)
