"""Shared reads: one read that hangs delays no caller for long."""

import asyncio

import pytest

from llmservice_operator.controller.client import shared_reads
from llmservice_operator.controller.client.errors import TooLong
from llmservice_operator.controller.client.shared_reads import SharedReads


async def test_a_reading_that_takes_too_long_is_unknown_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reads, "READ_SECONDS", 0.02)
    begun = 0

    async def endless() -> int:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()
        return 1

    nodes = SharedReads[int]()
    async with asyncio.timeout(60):
        assert await asyncio.gather(*(nodes.get("nodes", endless, 15.0) for _ in range(10))) == [None] * 10
        assert await nodes.get("nodes", endless, 0.0) is None
    assert begun == 1, "it is not read again"


async def test_an_answer_that_is_too_long_is_unknown_for_a_while() -> None:
    async def long() -> int:
        raise TooLong("the answer is longer than 16 MiB")

    assert await SharedReads[int]().get("nodes", long, 15.0) is None


async def test_who_asks_says_how_old_a_reading_may_be() -> None:
    found = iter(range(10))

    async def read() -> int:
        return next(found)

    nodes = SharedReads[int]()
    assert nodes.last("nodes") is None
    assert await nodes.get("nodes", read, 0.0) == 0
    assert await nodes.get("nodes", read, 15.0) == 0
    assert await nodes.get("nodes", read, 0.0) == 1
    assert nodes.last("nodes") == 1


async def test_a_reading_that_is_refused_is_forgotten() -> None:
    async def read() -> int:
        return 1

    async def long() -> int:
        raise TooLong("the answer is longer than 16 MiB")

    nodes = SharedReads[int]()
    await nodes.get("nodes", read, 0.0)
    await nodes.get("nodes", long, 0.0)
    assert nodes.last("nodes") is None


async def test_with_no_age_the_read_begins_after_the_call_and_is_shared_by_those_who_wait() -> None:
    """A read that has begun may have seen the nodes already, before the change that the caller knows of."""
    begun, reads, may_end = 0, asyncio.Event(), asyncio.Event()

    async def read() -> int:
        nonlocal begun
        begun += 1
        number = begun
        reads.set()
        await may_end.wait()
        return number

    nodes = SharedReads[int]()
    async with asyncio.timeout(60):
        first = asyncio.create_task(nodes.get("nodes", read, 15.0))
        await reads.wait()
        current = [asyncio.create_task(nodes.get("nodes", read, 0.0)) for _ in range(5)]
        old = asyncio.create_task(nodes.get("nodes", read, 15.0))
        await asyncio.sleep(0)
        may_end.set()
        assert (await first, await old) == (1, 1)
        assert await asyncio.gather(*current) == [2] * 5
    assert begun == 2
