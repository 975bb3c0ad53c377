"""Large bodies are parsed one after the other, each key's in turn, with a pause after each; small ones never wait."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from llmservice_runtime.gateway.parse_queue import APPLICATION_SECONDS, LARGE_BYTES, MOST_PAUSE_SECONDS, ParseQueue

COMPLETIONS = "/v1/completions"
LARGE = json.dumps({"prompt": "a" * LARGE_BYTES, "max_tokens": 1}).encode()
SMALL = json.dumps({"prompt": "a" * (LARGE_BYTES - 100), "max_tokens": 1}).encode()
START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"{}"}

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_turn_is_followed_by_a_pause_as_long_as_it_was() -> None:
    turns = ParseQueue()
    with await turns.take("a"):
        await asyncio.sleep(0.3)
    with await turns.take("a"):
        assert now() == pytest.approx(0.6)
        await asyncio.sleep(60)
    with await turns.take("a"):
        assert now() == pytest.approx(60.6 + MOST_PAUSE_SECONDS)


async def test_one_at_a_time_and_each_key_in_turn() -> None:
    turns = ParseQueue()
    order: list[str] = []
    running = 0

    async def parse(name: str) -> None:
        nonlocal running
        with await turns.take(name[0]):
            running += 1
            assert running == 1
            order.append(name)
            await asyncio.sleep(0.1)
            running -= 1

    await asyncio.gather(*(parse(name) for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")))
    assert order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


@pytest.mark.parametrize("at", [0.05, 0.2])
async def test_who_gives_up_waiting_holds_up_nobody(at: float) -> None:
    """Also in the moment in which its turn begins."""
    turns = ParseQueue()

    async def parse() -> None:
        with await turns.take("a"):
            await asyncio.sleep(0.1)

    first, second, third = (asyncio.create_task(parse()) for _ in range(3))
    await first
    await asyncio.sleep(max(0.0, at - now()))
    second.cancel()
    await third
    assert second.cancelled() and now() == pytest.approx(0.3)
    await asyncio.sleep(MOST_PAUSE_SECONDS)
    with await turns.take("b"):
        assert now() == pytest.approx(0.3 + MOST_PAUSE_SECONDS)


async def asked(house: Any, count: int, body: bytes, seconds: float, listens: bool) -> list[float]:
    """When the application took each of these requests' bodies; it then parses for so long."""
    taken: list[float] = []

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        taken.append(now())
        await asyncio.sleep(seconds)
        if listens:
            listening = asyncio.create_task(receive())
            await asyncio.sleep(30)
            listening.cancel()
        await send(START)
        await send(END)

    house.app.answer = answer
    replies = await asyncio.gather(*(house.ask("POST", COMPLETIONS, body) for _ in range(count)))
    assert [reply.status for reply in replies] == [200] * count
    return taken


async def test_the_application_gets_one_large_body_at_a_time_until_it_asks_for_more(house: Any) -> None:
    assert await asked(house, 3, LARGE, 0.1, listens=True) == pytest.approx([0, 0.2, 0.4])


async def test_an_application_that_never_asks_for_more_ends_its_turn_with_its_answer(house: Any) -> None:
    assert await asked(house, 3, LARGE, 0.1, listens=False) == pytest.approx([0, 0.2, 0.4])


async def test_an_application_that_does_neither_holds_up_others_for_a_bounded_time(house: Any) -> None:
    each = 2 * APPLICATION_SECONDS
    assert await asked(house, 3, LARGE, 20, listens=False) == pytest.approx([0, each, 2 * each])


async def test_small_bodies_wait_for_none(house: Any) -> None:
    assert await asked(house, 3, SMALL, 0.1, listens=False) == pytest.approx([0, 0, 0])


async def test_no_turn_is_held_while_the_store_is_asked(house: Any) -> None:
    reserve = house.limiter.reserve

    async def slowly(ask: Any) -> Any:
        await asyncio.sleep(5)
        return await reserve(ask)

    house.limiter.reserve = slowly
    assert await asked(house, 2, LARGE, 0.1, listens=False) == pytest.approx([5, 5.2])


async def test_a_body_whose_turn_does_not_come_is_refused_at_the_deadline(house: Any) -> None:
    house.caps(deadline_seconds=5)
    with await house.pipeline._turns.take("another"):
        reply = await house.ask("POST", COMPLETIONS, LARGE)
    assert (reply.status, reply.error["code"]) == (504, "deadline") and now() == pytest.approx(5)
    assert house.app.scopes == [] and house.drain.active == 0


async def test_the_application_is_told_that_the_client_has_gone_where_its_turn_does_not_come(house: Any) -> None:
    house.caps(deadline_seconds=5)
    reserve = house.limiter.reserve

    async def after_another(ask: Any) -> Any:
        await house.pipeline._turns.take("another")
        return await reserve(ask)

    house.limiter.reserve = after_another
    reply = await house.ask("POST", COMPLETIONS, LARGE)
    assert (reply.status, reply.error["code"]) == (504, "deadline") and now() == pytest.approx(5, abs=0.1)
    assert house.app.bodies == [b""] and house.drain.active == 0
