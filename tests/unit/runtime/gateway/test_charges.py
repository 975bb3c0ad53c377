"""Tokens are charged while a request runs, and what was reserved for it stays reserved until it has used it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from llmservice_contract.policy import Policy, RateLimit
from llmservice_runtime.gateway.answer import ResponseStream
from llmservice_runtime.gateway.charges import Charges
from llmservice_runtime.gateway.engine_counts import EngineCounts
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import Size
from llmservice_runtime.rate_limits.limiter import Ask, Grant
from llmservice_runtime.rate_limits.memory import MemoryLimiter

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
BODY = {"prompt": "x" * 80, "max_tokens": 30}
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
PART = {"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True}
END = {"type": "http.response.body", "body": b""}
LIMIT = 100_000

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def stream(parts: int, seconds: float, per_part: int = 1) -> Any:
    """An application that makes so many parts, one after another in this time."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        for _ in range(parts):
            await asyncio.sleep(seconds / parts)
            await send(PART)
        usage = SimpleNamespace(prompt_tokens=7, completion_tokens=parts * per_part)
        scope["state"]["request_metadata"] = SimpleNamespace(final_usage_info=usage)
        await send(END)

    return answer


def limited(house: Any) -> None:
    """Gives the house a limit that counts."""
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.with_parts(limiter=MemoryLimiter(lambda: asyncio.get_running_loop().time()))


async def left(house: Any) -> int:
    """Tokens that the client's key has left."""
    house.app.answer = None
    return int((await house.ask("POST", "/tokenize", {})).headers["x-ratelimit-remaining-tokens"])


async def test_a_stream_is_charged_each_second_and_keeps_the_rest_of_its_reservation(house: Any) -> None:
    house.app.answer = stream(parts=20, seconds=5)
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200
    *running, last = house.limiter.charges
    assert len(running) >= 4
    used = [used for used, _ in running]
    assert used[0] == 10 + 3 and sum(used) == 10 + 19
    assert [held for _, held in running] == [50 - sum(used[: n + 1]) for n in range(len(running))]
    assert last == (0, 0) and house.limiter.settled[0][1] == 10 + 19, "an estimate that was too high stays charged"


async def test_a_stream_without_a_bound_reserves_more_before_it_has_used_what_it_has(house: Any) -> None:
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.app.answer = stream(parts=3000, seconds=30)
    await house.ask("POST", CHAT, {"messages": []})
    assert [ask.tokens for ask in house.limiter.asks] == [1024] * 4, "one piece ahead"
    assert [ask.requests for ask in house.limiter.asks] == [1, 0, 0, 0]
    assert house.limiter.settled[-1] == (house.limiter.asks[0], 3007)
    assert all(charged == 0 for _, charged in house.limiter.settled[:-1]), "pieces count as the request's own"


async def test_a_stream_without_a_limit_of_tokens_reserves_nothing_more(house: Any) -> None:
    house.app.answer = stream(parts=3000, seconds=30)
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(60, None)})
    await house.ask("POST", CHAT, {"messages": []})
    assert len(house.limiter.asks) == 1 and house.limiter.settled[-1][1] == 3007


async def test_an_answer_that_is_made_for_long_keeps_its_reservation_up(house: Any) -> None:
    house.app.answer = stream(parts=1, seconds=130)
    await house.ask("POST", COMPLETIONS, BODY)
    assert house.limiter.charges == [*[(0, 50)] * 6, (8, 0)]


async def test_thirty_streams_of_a_minute_and_more_count_in_full(house: Any) -> None:
    limited(house)
    house.app.answer = stream(parts=64, seconds=64, per_part=250)
    replies = await asyncio.gather(*(house.ask("POST", CHAT, {"messages": []}) for _ in range(30)))
    assert [each.status for each in replies] == [200] * 30
    refused = await house.ask("POST", CHAT, {"messages": []})
    # 480,000 tokens are those of nearly five minutes.
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    assert refused.status == 429 and 180 <= int(refused.headers["retry-after"]) <= 300


async def test_what_a_bounded_stream_uses_is_free_again_a_minute_after_it_was_used(house: Any) -> None:
    limited(house)
    house.app.answer = stream(parts=300, seconds=300)
    await house.ask("POST", COMPLETIONS, {"prompt": "", "max_tokens": 300})
    assert LIMIT - 75 <= await left(house) <= LIMIT - 60
    await asyncio.sleep(61)
    assert await left(house) == LIMIT


async def test_a_client_that_takes_nothing_of_its_stream_pays_what_was_reserved(house: Any) -> None:
    gone = asyncio.Event()
    sent: list[Any] = []

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        await send(PART)
        sending = asyncio.create_task(send(PART))
        assert (await receive())["type"] == "http.disconnect"
        sending.cancel()

    async def receive() -> Any:
        if not sent:
            sent.append({"type": "http.request", "body": b'{"prompt":"","max_tokens":3000}'})
            return sent[0]
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 3:
            await asyncio.Event().wait()

    house.app.answer = answer
    key = [(b"authorization", f"Bearer {house.client_key}".encode())]
    asyncio.get_running_loop().call_later(10, gone.set)
    await house.pipeline(house.scope("POST", COMPLETIONS, key), receive, send)
    assert house.limiter.settled[0][1] == 3000


async def until_told(_scope: Any, receive: Any, _send: Any) -> None:
    """Makes an answer that is no stream, until the client has gone."""
    await receive()
    await receive()


def endless(freed: list[float]) -> Any:
    """Makes 500 tokens a second until the client has gone."""

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        gone = asyncio.create_task(receive())
        while not gone.done():
            await asyncio.sleep(0.002)
            await send(PART)
        freed.append(asyncio.get_running_loop().time())

    return answer


async def test_a_stream_of_open_length_ends_above_the_limit_once_it_has_used_its_reservation(house: Any) -> None:
    freed: list[float] = []
    house.limiter.has_room = False
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.app.answer = endless(freed)
    reply = await house.ask("POST", CHAT, {"messages": []})
    assert freed == [pytest.approx(1.95, abs=0.06)], "a tenth of a second before it has used 1024 tokens"
    error = json.loads(reply.body.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]
    assert (reply.status, error["code"], error["param"]) == (200, "tokens_per_minute", "max_tokens")
    assert str(LIMIT) in error["message"]
    assert house.lines()[0].items() >= {"status": 200, "reason": "tokens_per_minute"}.items()
    assert 950 <= house.limiter.settled[0][1] <= 1024


async def test_an_answer_of_open_length_that_is_no_stream_becomes_429_above_the_limit(house: Any) -> None:
    house.limiter.has_room = False
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.app.answer = until_told
    reply = await house.ask("POST", "/v1/responses", {"input": ""})
    assert asyncio.get_running_loop().time() == pytest.approx(5.1, abs=0.1), "200 tokens for each second are 1024"
    assert (reply.status, reply.headers["retry-after"]) == (429, "60")
    assert (reply.error["code"], reply.error["param"]) == ("tokens_per_minute", "max_output_tokens")
    assert house.lines()[0].items() >= {"status": 429, "reason": "tokens_per_minute"}.items()


async def test_an_answer_ends_at_once_if_its_application_waits_twice_and_gives_one_wait_up(house: Any) -> None:
    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        first = asyncio.create_task(receive())
        await asyncio.sleep(0.1)
        # As vLLM and its web framework do: the second begins before the first has ended.
        second = asyncio.create_task(receive())
        first.cancel()
        await send(START)
        while not second.done():
            await asyncio.sleep(0.002)
            await send(PART)

    house.limiter.has_room = False
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.app.answer = answer
    assert b"tokens_per_minute" in (await house.ask("POST", CHAT, {"messages": []})).body
    assert house.limiter.settled[-1][1] <= 1024 * 1.02


@pytest.mark.parametrize("hides", [False, True])
async def test_a_stream_that_shows_few_tokens_ends_by_its_time_if_it_may_hide_more(house: Any, hides: bool) -> None:
    house.limiter.has_room = False
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.app.answer = stream(parts=30, seconds=30)
    await house.ask("POST", CHAT, {"messages": [], "include_reasoning": not hides})
    assert asyncio.get_running_loop().time() == pytest.approx(6.1 if hides else 30, abs=0.2)


@pytest.mark.parametrize("caps", [{}, {"max_tokens": 20_000}, {"default_max_tokens": 20_000}])
async def test_an_answer_that_says_max_tokens_or_gets_it_from_a_cap_is_never_ended(
    house: Any, caps: dict[str, int]
) -> None:
    house.limiter.has_room = False
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.caps(**caps)
    house.app.answer = stream(parts=3000, seconds=30)
    reply = await house.ask("POST", CHAT, {"messages": []} if caps else {"messages": [], "max_tokens": 1})
    assert reply.body.count(b"data: {}") == 3000 and b"error" not in reply.body


async def test_an_application_that_does_not_listen_is_cancelled_above_the_limit(house: Any) -> None:
    async def answer(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.sleep(1000)

    house.limiter.has_room = False
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.app.answer = answer
    assert (await house.ask("POST", CHAT, {"messages": []})).status == 429
    assert asyncio.get_running_loop().time() == pytest.approx(6.1, abs=0.1)


async def test_answers_of_other_keys_go_on(house: Any) -> None:
    freed: list[float] = []
    limits = {"default": RateLimit(None, 3000), "premium": RateLimit(None, 3000)}
    house.policy = Policy(require_keys=True, tiers=limits)
    house.with_parts(limiter=MemoryLimiter(lambda: asyncio.get_running_loop().time()))

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        own = dict(scope["headers"])[b"authorization"] == f"Bearer {house.client_key}".encode()
        await (endless(freed) if own else stream(parts=2000, seconds=60))(scope, receive, send)

    house.app.answer = answer
    ended, other = await asyncio.gather(
        house.ask("POST", CHAT, {"messages": []}),
        house.ask("POST", CHAT, {"messages": []}, key=house.premium_key),
    )
    assert b"tokens_per_minute" in ended.body and freed == [pytest.approx(6, abs=0.1)]
    assert other.body.count(b"data: {}") == 2000 and b"error" not in other.body


def realtime(house: Any) -> dict[str, Any]:
    scope: dict[str, Any] = house.scope("GET", "/v1/realtime", type="websocket")
    del scope["method"]
    return scope | {"headers": [(b"authorization", f"Bearer {house.client_key}".encode())]}


async def listen(scope: Any, receive: Any, send: Any) -> None:
    """A websocket that answers each message until its client goes."""
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": "x"})
    scope["gone"] = message


def messages(count: int, size: int) -> list[dict[str, Any]]:
    return [{"type": "websocket.receive", "text": "x" * size} for _ in range(count)]


async def test_a_websocket_is_charged_by_its_messages(house: Any) -> None:
    house.app.answer = listen
    await house.send(realtime(house), [*messages(10, 8530), {"type": "websocket.disconnect", "code": 1000}])
    assert house.limiter.settled[0][1] == 10 * (1 + 10) + 10
    assert house.lines()[0].items() >= {"prompt_tokens": 110, "completion_tokens": 10}.items()


@pytest.mark.parametrize(("count", "size", "answers"), [(2, 1025, 0), (20, 1024, 8)])
async def test_a_websocket_that_sends_too_much_is_closed(house: Any, count: int, size: int, answers: int) -> None:
    house.caps(body_bytes=1024)
    house.app.answer = listen
    reply = await house.send(realtime(house), messages(count, size))
    assert [each["type"] for each in reply.messages] == ["websocket.accept", *["websocket.send"] * answers, CLOSE]
    assert (reply.messages[-1]["code"], reply.messages[-1]["reason"]) == (1009, "websocket_bytes")
    assert house.app.scopes[0]["gone"]["type"] == "websocket.disconnect", "vLLM frees the engine"
    assert house.lines()[0]["reason"] == "websocket_bytes"


async def test_a_websocket_of_a_key_above_its_limit_is_closed(house: Any) -> None:
    house.app.answer = listen
    house.policy = Policy(require_keys=True, tiers={"default": RateLimit(None, LIMIT)})
    house.limiter.exceeded = True
    reply = await house.send(realtime(house), messages(3, 10))
    assert asyncio.get_running_loop().time() < 3
    assert (reply.messages[-1]["code"], reply.messages[-1]["reason"]) == (1008, "tokens_per_minute")


async def test_sound_reserves_by_its_bytes_and_is_charged_by_its_seconds(house: Any) -> None:
    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        usage = b'{"text":"hello","usage":{"type":"duration","seconds":3600}}'
        await send({"type": "http.response.body", "body": usage})

    house.app.answer = answer
    await house.ask("POST", "/v1/audio/transcriptions", b"x" * 32_000)
    assert (house.limiter.asks[0].tokens, house.limiter.settled[0][1]) == (100, 180_000)


CLOSE = "websocket.close"


async def test_a_request_with_thousands_of_answers_is_looked_at_more_rarely() -> None:
    loop, looks, answers = asyncio.get_running_loop(), 0, 16_384

    def look() -> int:
        nonlocal looks
        looks += 1
        return 0

    counts, ask = EngineCounts(), Ask("key", RateLimit(None, LIMIT), answers, LIMIT // 10)
    states = {str(n): SimpleNamespace(prompt_len=0, detokenizer=None) for n in range(answers)}
    states["0"].detokenizer = SimpleNamespace(num_output_tokens=look)
    for name in states:
        counts.add(name, states, is_first=True)
    limiter = MemoryLimiter(loop.time)
    grant = await limiter.reserve(ask)
    assert isinstance(grant, Grant)
    await limiter.reserve(Ask("key", ask.limit, 0, LIMIT - ask.tokens))
    size, answer = Size(answers, 0, ask.tokens, is_open=True), ResponseStream(None, [], None, loop.time)  # type: ignore[arg-type]
    charges = Charges(limiter, grant, Kind.COMPLETION, size, answer, counts, lambda: None)
    charges.begin()
    await asyncio.sleep(10)
    charges.end(0)
    # Each look at so many takes milliseconds of the event loop, twice; a key may have several such requests.
    assert 10 <= looks <= 50
