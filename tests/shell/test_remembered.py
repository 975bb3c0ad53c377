"""What is read once for all: one reading that does not end holds nobody up for long."""

import asyncio

import pytest

from llmservice_operator.shell import capacity
from llmservice_operator.shell.capacity import Remembered
from llmservice_operator.shell.errors import TooLong


async def test_a_reading_that_takes_too_long_is_unknown_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "READ_SECONDS", 0.02)
    readings = 0

    async def endless() -> int:
        nonlocal readings
        readings += 1
        await asyncio.Event().wait()
        return 1

    remembered = Remembered("Something", endless)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(remembered.get(15.0) for _ in range(10))) == [None] * 10
    assert readings == 1, "nobody asks again"


async def test_an_answer_that_is_too_long_is_unknown_for_a_while() -> None:
    async def long() -> int:
        raise TooLong("the answer is longer than 16 MiB")

    assert await Remembered("Something", long).get(15.0) is None
