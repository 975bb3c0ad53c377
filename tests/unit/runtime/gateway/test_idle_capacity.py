"""Requests of batches use idle capacity alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from llmservice_contract.policy import FairSharing, Share
from llmservice_runtime.gateway import idle_capacity
from llmservice_runtime.gateway.fair_sharing import LOWEST_PRIORITY, FairShares
from llmservice_runtime.gateway.idle_capacity import (
    AT_ONCE,
    BESIDE,
    MOST_WAITING,
    QUIET_SECONDS,
    SPACING,
    WAIT_SECONDS,
    IdleCapacity,
    Visit,
    is_of_a_batch,
)

COMPLETIONS = "/v1/completions"
HEADER = [(b"x-request-class", b"batch")]


class Progress:
    """A request whose first token comes when a test says so."""

    def __init__(self, begun: bool = False, seconds: float | None = 0.1) -> None:
        self.has_begun = begun
        self.first_token_seconds = seconds


def now() -> float:
    return asyncio.get_running_loop().time()


class Lines:
    """Requests of batches."""

    def __init__(self, capacity: IdleCapacity) -> None:
        self._capacity = capacity
        self.visits: list[Visit] = []
        self.refused = 0
        self.displaced: list[Visit] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.end = asyncio.Event()

    def start(self, count: int = 1, begun: bool = False) -> None:
        """So many arrive."""
        self.tasks += [asyncio.create_task(self._one(begun)) for _ in range(count)]

    async def _one(self, begun: bool) -> None:
        async with self._capacity.of_a_batch() as visit:
            if visit is None:
                self.refused += 1
                return
            visit.progress = Progress(begun)
            visit.displace = lambda: self.displaced.append(visit)
            self.visits.append(visit)
            await self.end.wait()

    def begin(self) -> None:
        """All have their first token."""
        for each in self.visits:
            each.progress = Progress(True)


@contextlib.asynccontextmanager
async def lines(capacity: IdleCapacity) -> Any:
    made = Lines(capacity)
    try:
        yield made
    finally:
        made.end.set()
        await asyncio.gather(*made.tasks)


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_alone_they_fill_the_engine_as_fast_as_it_begins_them() -> None:
    capacity = IdleCapacity(now)
    async with lines(capacity) as batch:
        batch.start(20)
        await asyncio.sleep(0.1)
        assert len(batch.visits) == AT_ONCE
        for expected in (2, 3, 4, 5):
            batch.begin()
            await asyncio.sleep(0.1)
            assert len(batch.visits) == expected * AT_ONCE
        assert not batch.refused


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_they_wait_while_another_request_has_no_first_token_and_are_refused_then() -> None:
    capacity = IdleCapacity(now)
    async with lines(capacity) as batch:
        with capacity.other() as other:
            batch.start(2)
            await asyncio.sleep(WAIT_SECONDS - 0.1)
            assert not batch.visits
            await asyncio.sleep(0.2)
            assert (batch.refused, batch.visits) == (2, [])
            other.progress = Progress(True)
            batch.start(2)
            await asyncio.sleep(0.1)
            assert len(batch.visits) == 1


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_beside_others_their_prompts_take_a_tenth_of_the_time() -> None:
    capacity, took = IdleCapacity(now), 0.1
    with capacity.other() as other:
        other.progress = Progress(True)
        begun = now()
        for _ in range(20):
            async with capacity.of_a_batch() as visit:
                assert visit is not None
                visit.progress = Progress(False)
                await asyncio.sleep(took)
                visit.progress = Progress(True, took)
        assert 20 * took / (now() - begun) == pytest.approx(1 / (SPACING + 1), rel=0.15)


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_beside_others_few_are_in_work() -> None:
    capacity = IdleCapacity(now)
    async with lines(capacity) as batch:
        with capacity.other() as other:
            other.progress = Progress(True)
            for _ in range(BESIDE + 3):
                batch.start(begun=True)
                await asyncio.sleep(4)
            assert len(batch.visits) == BESIDE
        batch.start(2, begun=True)
        await asyncio.sleep(QUIET_SECONDS / 2)
        assert len(batch.visits) == BESIDE
        await asyncio.sleep(QUIET_SECONDS / 2 + 0.1)
        batch.start(2, begun=True)
        await asyncio.sleep(0.1)
        assert len(batch.visits) > BESIDE


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_another_request_displaces_the_youngest() -> None:
    capacity = IdleCapacity(now)
    async with lines(capacity) as batch:
        for _ in range(10):
            batch.start(begun=True)
            await asyncio.sleep(0.1)
        with capacity.other():
            assert batch.displaced == batch.visits[BESIDE:]
        with capacity.other():
            assert len(batch.displaced) == 10 - BESIDE


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_those_that_wait_are_bounded() -> None:
    capacity = IdleCapacity(now)
    async with lines(capacity) as batch:
        with capacity.other():
            batch.start(MOST_WAITING + 5)
            await asyncio.sleep(0.1)
            assert batch.refused == 5


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_one_whose_body_does_not_come_keeps_no_place() -> None:
    capacity = IdleCapacity(now)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(AT_ONCE):
            assert await stack.enter_async_context(capacity.of_a_batch()) is not None
        started = now()
        assert await stack.enter_async_context(capacity.of_a_batch()) is not None
        assert now() - started == pytest.approx(idle_capacity.ARRIVAL_SECONDS, abs=0.1)


def test_the_class_is_a_header() -> None:
    assert is_of_a_batch([(b"x-request-class", b" Batch ")])
    assert not is_of_a_batch([])
    assert not is_of_a_batch([(b"x-request-class", b"chat")])
    assert not is_of_a_batch([*HEADER, *HEADER])


def test_their_priority_is_the_lowest_and_their_key_is_not_charged() -> None:
    shares = FairShares(lambda: 0.0)
    last = shares.begin("a", 1, is_last=True)
    assert last.priority(object(), 1000, 1000) == LOWEST_PRIORITY
    own = shares.begin("a", 1)
    assert own.priority(object(), 10, 10) == 0
    last.end(1000)
    assert not shares.has_several_keys


def working(until: Callable[[], bool]) -> Any:
    """An application that answers when a test says so, or is cut off."""

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        gone = asyncio.create_task(receive())
        while not until() and not gone.done():
            await asyncio.wait([gone], timeout=0.05)
        if not gone.done():
            gone.cancel()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    return answer


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_the_gateway_lets_them_wait_refuses_and_displaces_them(house: Any) -> None:
    house.policy = replace(house.policy, fair_sharing=FairSharing({"default": Share(max_queue_seconds=1)}))
    ends: list[float] = []
    house.app.answer = working(lambda: bool(ends) and now() >= ends[0])
    body = {"prompt": "a", "max_tokens": 5}
    first = [asyncio.create_task(house.ask("POST", COMPLETIONS, body, headers=HEADER)) for _ in range(2)]
    await asyncio.sleep(0.2)
    chat = asyncio.create_task(house.ask("POST", COMPLETIONS, body))
    await asyncio.sleep(0.2)
    refused = await house.ask("POST", COMPLETIONS, body, headers=HEADER)
    assert (refused.status, refused.error["code"]) == (429, "no_idle_capacity")
    assert refused.headers["retry-after"] == "1"
    assert ("no_idle_capacity", "default") in house.meter.rejections
    ends.append(now())
    assert [(await each).status for each in (*first, chat)] == [200, 200, 200]
