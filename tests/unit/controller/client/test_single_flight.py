"""Single flight: one request at a time per answer, cached, and independent of callers that are cancelled."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from llmservice_operator.controller.client.single_flight import Busy, SingleFlight


class Asked:
    """A question that is answered when the test says so."""

    def __init__(self) -> None:
        self.times = 0
        self.answer = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        """Which time it was asked for."""
        self.times += 1
        number = self.times
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return number


def getting(flight: SingleFlight[str, int], key: str, ask: Asked, seconds: float = 60.0) -> Coroutine[Any, Any, int]:
    kept: Callable[[int], float] = lambda _: seconds  # noqa: E731
    return flight.get(key, ask, kept)


async def waiting(flight: SingleFlight[str, int], key: str, ask: Asked) -> asyncio.Task[int]:
    """One who has asked and waits."""
    task = asyncio.create_task(getting(flight, key, ask))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_all_who_wait_share_one_answer() -> None:
    flight, ask = SingleFlight[str, int](8), Asked()
    waiters = [await waiting(flight, "a", ask) for _ in range(20)]
    ask.answer.set()
    assert await asyncio.gather(*waiters) == [1] * 20
    assert await getting(flight, "a", ask) == 1
    assert await getting(flight, "a", ask, seconds=0) == 2, "too old for this one"
    assert flight.last("a") == 2


async def test_one_who_leaves_takes_the_answer_from_nobody() -> None:
    flight, ask = SingleFlight[str, int](8), Asked()
    first, second = await waiting(flight, "a", ask), await waiting(flight, "a", ask)
    first.cancel()
    ask.answer.set()
    assert await second == 1
    assert ask.times == 1


async def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    flight, ask = SingleFlight[str, int](8), Asked()
    ask.error = OSError("no route")
    waiters = [await waiting(flight, "a", ask) for _ in range(2)]
    ask.answer.set()
    assert [type(each) for each in await asyncio.gather(*waiters, return_exceptions=True)] == [OSError, OSError]
    ask.error = None
    assert await getting(flight, "a", ask) == 2


async def test_open_questions_and_answers_are_bounded() -> None:
    flight, ask = SingleFlight[str, int](2, at_once=1), Asked()
    waiter = await waiting(flight, "a", ask)
    with pytest.raises(Busy):
        await getting(flight, "b", ask)
    ask.answer.set()
    await waiter
    for key in ("b", "c"):
        await getting(flight, key, ask)
    assert [flight.last(key) for key in ("a", "b", "c")] == [None, 2, 3]
