"""The deadline: the engine is freed and the client gets an error."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

COMPLETIONS = "/v1/completions"
BODY = {"prompt": "12345678", "max_tokens": 10}
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def now() -> float:
    return asyncio.get_running_loop().time()


async def freed_by_the_client(scope: Any, receive: Any, send: Any) -> None:
    """Computes as vLLM does: until the client has disconnected; then it still sends something."""
    scope["events"] = [(await receive())["type"], (await receive())["type"]]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"null"})


async def test_the_application_is_told_that_the_client_has_gone_and_the_client_gets_504(house: Any) -> None:
    house.caps(deadline_seconds=5)
    house.app.answer = freed_by_the_client
    reply = await house.ask("POST", COMPLETIONS, BODY)
    assert now() == pytest.approx(5, abs=0.1)
    assert house.app.scopes[0]["events"] == ["http.request", "http.disconnect"]
    assert reply.status == 504 and "5 s (deadlineSeconds)" in reply.error["message"]
    assert house.lines()[0].items() >= {"status": 504, "reason": "deadline"}.items()
    assert house.limiter.settled[0][1] == 12 and house.drain.active == 0


async def test_a_stream_ends_with_an_error_event(house: Any) -> None:
    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        await receive()
        await send({"type": "http.response.body", "body": b"data: late\n\n", "more_body": True})

    house.caps(deadline_seconds=5)
    house.app.answer = answer
    reply = await house.ask("POST", COMPLETIONS, BODY)
    first, last = reply.body.decode().split("\n\n")[:2]
    assert first == "data: {}"
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "deadline"
    assert reply.messages[-1] == {"type": "http.response.body", "body": b""}
    assert house.lines()[0].items() >= {"status": 200, "reason": "deadline", "completion_tokens": 1}.items()


async def test_an_application_that_does_not_listen_is_cancelled(house: Any) -> None:
    ended: list[float] = []

    async def answer(_scope: Any, _receive: Any, _send: Any) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(now())

    house.caps(deadline_seconds=5)
    house.app.answer = answer
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 504
    assert ended == [pytest.approx(6, abs=0.1)]


async def test_a_plain_answer_that_has_begun_is_cut_off(house: Any) -> None:
    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START | {"headers": []})
        await asyncio.sleep(1000)

    house.caps(deadline_seconds=5)
    house.app.answer = answer
    assert [message["type"] for message in (await house.ask("POST", COMPLETIONS, BODY)).messages] == [START["type"]]


async def test_a_body_that_trickles_in_is_408(house: Any) -> None:
    house.caps(deadline_seconds=5)
    begun = {"type": "http.request", "body": b"{", "more_body": True}
    reply = await house.ask("POST", COMPLETIONS, messages=[begun])
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert now() == pytest.approx(5, abs=0.1)
    assert house.app.scopes == [] and house.drain.active == 0


async def test_a_time_out_of_the_applications_own_is_its_failure(house: Any) -> None:
    async def answer(_scope: Any, _receive: Any, _send: Any) -> None:
        raise TimeoutError("its own")

    house.app.answer = answer
    with pytest.raises(TimeoutError, match="its own"):
        await house.ask("POST", COMPLETIONS, BODY)


async def test_a_websocket_is_closed(house: Any) -> None:
    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"

    house.caps(deadline_seconds=5)
    house.app.answer = answer
    key = [(b"authorization", f"Bearer {house.client_key}".encode())]
    reply = await house.send(house.scope("GET", "/v1/realtime", key, type="websocket"))
    assert [message["type"] for message in reply.messages] == ["websocket.accept", "websocket.close"]
