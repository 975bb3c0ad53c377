"""How calls reach a store, and that a store which is away costs a request nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any

import pytest

from llmservice_runtime.rate_limits.batching_client import PAUSE_SECONDS, BatchingStoreClient
from llmservice_runtime.rate_limits.limiter import StoreUnavailable
from llmservice_runtime.rate_limits.script import Call, look

CALL = Call("a", ("reserve", 1, 10, -1, -1))
UNDO = Call("a", ("settle", 7, -10))
REPLY = [1, 7, 1, 10, 0, 0, 0, 0]


class Store:
    """A client whose replies come when `open` is set."""

    def __init__(self) -> None:
        self.batches: list[list[Call]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self.replies: list[Any] | None = None
        self.closed = 0

    async def resolve(self) -> None: ...

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        self.batches.append(list(calls))
        await self.open.wait()
        if self.fault:
            raise self.fault
        return self.replies or [REPLY] * len(calls)

    async def aclose(self) -> None:
        self.closed += 1


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def undo(_: list[int]) -> Call:
    return UNDO


async def turn() -> None:
    """Lets all that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_waits_goes_with_the_next_batch() -> None:
    store = Store()
    courier = BatchingStoreClient(store, "redis:6379")
    store.open.clear()
    asks = [asyncio.create_task(courier.ask(CALL, undo)) for _ in range(5)]
    await turn()
    courier.tell(UNDO)
    asks += [asyncio.create_task(courier.ask(CALL, undo)) for _ in range(2)]
    await turn()
    store.open.set()
    assert await asyncio.gather(*asks) == [REPLY] * 7
    assert store.batches == [[CALL] * 5, [UNDO] + [CALL] * 2]


async def test_a_store_that_does_not_answer_fails_all_that_wait_and_costs_later_asks_nothing() -> None:
    store, clock = Store(), Clock()
    courier = BatchingStoreClient(store, "redis:6379", clock, batch_seconds=0.05)
    store.open.clear()
    asks = [asyncio.create_task(courier.ask(CALL, undo)) for _ in range(3)]
    for result in await asyncio.gather(*asks, return_exceptions=True):
        assert isinstance(result, StoreUnavailable) and "in time" in str(result)
    sent = len(store.batches)
    for _ in range(100):
        with pytest.raises(StoreUnavailable):
            # An ask that waits for anything would yield here.
            courier.ask(CALL, undo).send(None)
        courier.tell(UNDO)
    await turn()
    assert len(store.batches) == sent


async def test_a_second_after_a_failure_one_call_looks_and_nobody_waits_for_it() -> None:
    store, clock = Store(), Clock()
    courier = BatchingStoreClient(store, "redis:6379", clock)
    store.fault = ConnectionRefusedError("refused")
    with pytest.raises(StoreUnavailable, match="refused"):
        await courier.ask(CALL, undo)
    clock.now += PAUSE_SECONDS
    store.open.clear()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            courier.ask(CALL, undo).send(None)
        await turn()
    assert store.batches[1:] == [[look("a")]]

    store.fault = None
    store.open.set()
    await turn()
    assert await courier.ask(CALL, undo) == REPLY


async def test_a_store_that_still_fails_is_looked_at_once_a_second() -> None:
    store, clock = Store(), Clock()
    courier = BatchingStoreClient(store, "redis:6379", clock)
    store.fault = ConnectionRefusedError("refused")
    for _ in range(4):
        with pytest.raises(StoreUnavailable):
            await courier.ask(CALL, undo)
        await turn()
        with pytest.raises(StoreUnavailable):
            await courier.ask(CALL, undo)
        await turn()
        clock.now += PAUSE_SECONDS
    assert len(store.batches) == 4


async def test_an_error_in_place_of_a_reply_is_a_failure() -> None:
    store = Store()
    courier = BatchingStoreClient(store, "redis:6379")
    store.replies = [ValueError("NOPERM no permission")]
    with pytest.raises(StoreUnavailable, match="NOPERM"):
        await courier.ask(CALL, undo)


async def test_what_a_caller_that_went_away_has_reserved_is_undone() -> None:
    store = Store()
    courier = BatchingStoreClient(store, "redis:6379")
    store.open.clear()
    gone = asyncio.create_task(courier.ask(CALL, undo))
    await turn()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    store.open.set()
    await turn()
    assert store.batches == [[CALL], [UNDO]]


async def test_what_was_not_sent_before_its_caller_went_away_is_never_sent() -> None:
    store = Store()
    courier = BatchingStoreClient(store, "redis:6379")
    store.open.clear()
    first = asyncio.create_task(courier.ask(CALL, undo))
    await turn()
    gone = asyncio.create_task(courier.ask(CALL, undo))
    await turn()
    gone.cancel()
    store.open.set()
    await asyncio.gather(first, gone, return_exceptions=True)
    await turn()
    assert store.batches == [[CALL]]


async def test_an_event_loop_that_is_late_is_no_failure_of_the_store() -> None:
    store = Store()
    courier = BatchingStoreClient(store, "redis:6379", batch_seconds=0.05)
    store.open.clear()
    here, there = socket.socketpair()
    with here, there:
        asyncio.get_running_loop().add_reader(here, store.open.set)
        asked = asyncio.create_task(courier.ask(CALL, undo))
        await turn()
        there.send(b"the answer")
        # The loop is busy until long after the deadline, and the answer lies in the socket.
        time.sleep(0.2)  # noqa: ASYNC251
        assert await asked == REPLY
        asyncio.get_running_loop().remove_reader(here)


async def test_failure_and_return_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store, clock = Store(), Clock()
    courier = BatchingStoreClient(store, "redis:6379", clock)
    store.fault = ConnectionRefusedError("It was refused.")
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await courier.ask(CALL, undo)
        clock.now += PAUSE_SECONDS
        await turn()
    store.fault = None
    with pytest.raises(StoreUnavailable):
        await courier.ask(CALL, undo)
    await turn()
    assert [record.getMessage() for record in caplog.records] == [
        "The store of the rate limits at redis:6379 fails: It was refused.",
        "The store of the rate limits at redis:6379 is back.",
    ]


async def test_closing_ends_what_waits_and_the_connections() -> None:
    store = Store()
    courier = BatchingStoreClient(store, "redis:6379")
    store.open.clear()
    asks = [asyncio.create_task(courier.ask(CALL, undo)) for _ in range(2)]
    await turn()
    await courier.aclose()
    results = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 2
    assert store.closed == 1
    with pytest.raises(StoreUnavailable):
        await courier.ask(CALL, undo)
