"""A request in the gateway: what the application sees, what the client gets, what is logged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from llmservice_contract.policy import DEFAULT_TIERS, Policy, RateLimit
from llmservice_runtime.gateway import Gateway, configuration
from llmservice_runtime.rate_limits.limiter import Ask, Denial, LimitState, StoreUnavailable

COMPLETIONS = "/v1/completions"
BODY = {"prompt": "12345678", "max_tokens": 10}


class Reply(Protocol):
    messages: list[dict[str, Any]]
    status: int
    headers: dict[str, str]
    body: bytes
    error: dict[str, Any]


class House(Protocol):
    """See conftest."""

    client_key: str
    premium_key: str
    admin_key: str
    client_id: str
    app: Any
    policy: Policy
    limiter: Any
    meter: Any
    drain: Any
    tracer: Any
    closed: bool
    pipeline: Any

    def caps(self, **changed: Any) -> None: ...
    def with_parts(self, **changed: Any) -> None: ...
    def scope(self, method: str, path: str, headers: Sequence[Any] = (), **more: Any) -> dict[str, Any]: ...
    async def ask(self, method: str, path: str, body: Any = None, key: str | None = "", **more: Any) -> Reply: ...
    async def send(self, scope: dict[str, Any], messages: Sequence[Any] = ()) -> Reply: ...
    def lines(self) -> list[dict[str, Any]]: ...


def counted(prompt: int, completion: int, parts: int = 1) -> Any:
    """An application that answers in parts and counts tokens as vLLM does."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        usage = SimpleNamespace(prompt_tokens=prompt, completion_tokens=completion)
        scope["state"]["request_metadata"] = SimpleNamespace(final_usage_info=usage)
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"X-Request-Id", b"of-vllm")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(parts):
            await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return answer


async def test_a_request_with_a_key_is_answered_and_accounted(house: House) -> None:
    house.app.answer = counted(7, 3, parts=2)
    reply = await house.ask("POST", COMPLETIONS, BODY, headers=[(b"x-request-id", b"mine")])
    assert (reply.status, reply.body) == (200, b"data: {}\n\n" * 2)
    assert reply.headers["x-request-id"] == "mine" and "X-Request-Id" not in reply.headers
    assert house.limiter.asks == [Ask(house.client_id, RateLimit(), 1, 2 + 10)]
    assert house.limiter.settled == [(house.limiter.asks[0], 10)]
    assert house.meter.admissions == [(COMPLETIONS, "default")]
    [(route, tier, key_id, seconds, prompt, completion)] = house.meter.endings
    assert (route, tier, key_id, prompt, completion) == (COMPLETIONS, "default", house.client_id, 7, 3)
    assert seconds >= 0
    assert house.drain.active == 0
    [line] = house.lines()
    expected = {"request_id": "mine", "status": 200, "prompt_tokens": 7, "completion_tokens": 3, "method": "POST"}
    assert line.items() >= expected.items()
    assert "reason" not in line and line["ttft_seconds"] <= line["seconds"]


async def test_the_application_gets_the_body_once_then_the_clients_going(house: House) -> None:
    received: list[Any] = []

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        received.extend([await receive(), await receive()])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"null"})

    house.app.answer = answer
    raw = json.dumps(BODY).encode()
    parts = [{"type": "http.request", "body": raw[:9], "more_body": True}, {"type": "http.request", "body": raw[9:]}]
    reply = await house.ask("POST", COMPLETIONS, messages=[*parts, {"type": "http.disconnect"}])
    assert reply.messages == []
    assert received == [{"type": "http.request", "body": raw, "more_body": False}, {"type": "http.disconnect"}]
    assert house.lines()[0].items() >= {"status": 499, "reason": "client_gone", "prompt_tokens": 2}.items()
    # What the engine made meanwhile is not known: the whole reservation.
    assert house.limiter.settled[0][1] == 12


async def test_headers_reach_the_application_with_id_and_trace(house: House) -> None:
    await house.ask("POST", COMPLETIONS, BODY, headers=[(b"x-request-id", b"two words"), (b"host", b"h")])
    headers = house.app.scopes[0]["headers"]
    assert [value for name, value in headers if name == b"x-request-id"] == [b"made-up"]
    assert (b"traceparent", b"of-the-front") in headers and (b"host", b"h") in headers
    [span] = house.tracer.spans
    assert span.status == 200
    assert span.values["llmservice.tier"] == "default"


async def test_media_by_url_do_not_reach_the_application(house: House) -> None:
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data/"}}
    reply = await house.ask("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": [image]}]})
    assert (reply.status, reply.error["code"]) == (400, "media_url")
    assert reply.error["param"] == "messages[0].content[0].image_url.url"
    assert house.app.scopes == []


@pytest.mark.parametrize("path", ["/health", "/ping", "/ready"])
async def test_public_routes_need_nothing_and_are_not_logged(house: House, path: str) -> None:
    reply = await house.ask("GET", path, key=None)
    assert reply.status == 200
    assert house.lines() == []


async def test_without_a_key_the_answer_is_401_in_the_shape_of_openai(house: House) -> None:
    reply = await house.ask("POST", COMPLETIONS, BODY, key=None)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["x-request-id"] == "made-up"
    assert set(reply.error) == {"message", "type", "param", "code"}
    assert reply.error["code"] == "invalid_api_key"
    assert house.app.scopes == []
    assert house.meter.rejections == [("unauthorized", "none")]
    assert house.lines()[0].items() >= {"status": 401, "reason": "unauthorized", "route": COMPLETIONS}.items()


async def test_admin_routes_are_for_admin_keys(house: House) -> None:
    assert (await house.ask("POST", "/sleep")).status == 403
    assert (await house.ask("POST", "/sleep", key=house.admin_key)).status == 200
    assert (await house.ask("GET", "/made/up/by/a/client", key=None)).status == 401
    assert (await house.ask("GET", "/made/up/by/a/client")).status == 404
    assert len(house.app.scopes) == 1
    assert [line["route"] for line in house.lines()] == ["/sleep", "/sleep", "unknown", "unknown"]


async def test_a_service_without_keys_is_open_to_clients_and_closed_to_admins(house: House) -> None:
    house.policy = Policy()
    assert (await house.ask("POST", COMPLETIONS, BODY, key=None)).status == 200
    for method, path in (("POST", "/sleep"), ("GET", "/metrics")):
        for key in (house.admin_key, None):
            assert (await house.ask(method, path, key=key)).status == 403
    assert house.limiter.asks[0].key_id == ""
    assert house.meter.admissions == [(COMPLETIONS, "none")]


@pytest.mark.parametrize(
    ("ends", "headers", "status"),
    [
        ({"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}, [], 200),
        ({"client": ("::1", 1), "server": ("::1", 8000)}, [], 200),
        ({"client": ("::ffff:127.0.0.1", 1), "server": ("::ffff:127.0.0.1", 8000)}, [], 200),
        ({"client": ("10.0.0.9", 1), "server": ("127.0.0.1", 8000)}, [], 403),
        ({"client": ("127.0.0.1", 1), "server": ("10.0.0.1", 8000)}, [], 403),
        ({"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}, [(b"x-forwarded-for", b"127.0.0.1")], 403),
        ({"client": None, "server": None}, [], 403),
        ({"client": ("localhost", 1), "server": ("localhost", 8000)}, [], 403),
    ],
)
async def test_the_drain_is_for_the_pod_alone(house: House, ends: Any, headers: Any, status: int) -> None:
    reply = await house.ask("POST", "/drain", key=house.admin_key, headers=headers, **ends)
    assert reply.status == status


async def test_while_draining_only_work_is_refused(house: House) -> None:
    house.drain.refuses = True
    reply = await house.ask("POST", COMPLETIONS, BODY)
    assert (reply.status, reply.headers["retry-after"], reply.error["code"]) == (503, "1", "draining")
    assert (await house.ask("GET", "/v1/models")).status == 200
    assert house.drain.active == 0 and house.limiter.asks == []


async def test_headers_that_are_too_large_are_431(house: House) -> None:
    house.caps(header_bytes=1024)
    fits = [(b"x", b"a" * 700)]
    assert (await house.ask("POST", COMPLETIONS, BODY, headers=fits)).status == 200
    assert (await house.ask("POST", COMPLETIONS, BODY, headers=[*fits, (b"y", b"a" * 300)])).status == 431
    assert (await house.ask("GET", "/v1/models", headers=[*fits, (b"y", b"a" * 300)])).status == 431
    assert (await house.ask("GET", "/v1/models", query_string=b"a" * 1024)).status == 431


async def test_a_body_that_is_too_large_is_413_on_each_route(house: House) -> None:
    house.caps(body_bytes=1024)
    for path in (COMPLETIONS, "/v1/audio/transcriptions", "/sleep"):
        assert (await house.ask("POST", path, b" " * 1025, key=house.admin_key)).status == 413
    assert (await house.ask("POST", "/v1/audio/transcriptions", b" " * 1024)).status == 200


async def test_a_cap_is_named(house: House) -> None:
    reply = await house.ask("POST", COMPLETIONS, BODY | {"n": 17})
    assert (reply.status, reply.error["param"], reply.error["code"]) == (400, "n", "n")
    assert reply.error["message"] == "n asks for 17; this service allows 16 (n)."
    assert house.meter.rejections == [("n", "default")]
    assert house.limiter.asks == [] and house.app.scopes == [] and house.drain.active == 0


async def test_a_default_length_is_put_into_the_body(house: House) -> None:
    house.caps(default_max_tokens=50)
    await house.ask("POST", "/v1/chat/completions", b'{"messages": [] }', headers=[(b"content-length", b"17")])
    assert house.app.bodies == [b'{"messages": [] ,"max_completion_tokens":50}']
    length = [value for name, value in house.app.scopes[0]["headers"] if name == b"content-length"]
    assert length == [str(len(house.app.bodies[0])).encode()]
    assert house.limiter.asks[0].tokens == 50


async def test_only_so_many_of_one_key_at_once(house: House) -> None:
    house.caps(concurrency=2)
    begun: asyncio.Queue[None] = asyncio.Queue()
    go_on = asyncio.Event()

    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        begun.put_nowait(None)
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    house.app.answer = answer
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(house.ask("POST", COMPLETIONS, BODY)) for _ in range(2)]
        for _ in held:
            await begun.get()
        refused = await house.ask("POST", COMPLETIONS, BODY)
        other = group.create_task(house.ask("POST", COMPLETIONS, BODY, key=house.premium_key))
        await begun.get()
        go_on.set()
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (429, "concurrency", "1")
    assert [each.result().status for each in (*held, other)] == [200, 200, 200]
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200


async def test_the_limit_of_the_keys_tier_is_asked(house: House) -> None:
    house.policy = Policy(require_keys=True, tiers=DEFAULT_TIERS)
    house.limiter.standing = LimitState(1000, 997, 12.5, 1_000_000, 999_000, 60.0)
    reply = await house.ask("POST", COMPLETIONS, {"prompt": ["a"] * 3, "n": 2}, key=house.premium_key)
    assert house.limiter.asks[0].limit == RateLimit(1000, 1_000_000)
    assert house.limiter.asks[0].requests == 6
    reported = {name: value for name, value in reply.headers.items() if name.startswith("x-ratelimit-")}
    assert reported == {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "997",
        "x-ratelimit-reset-requests": "12.500s",
        "x-ratelimit-limit-tokens": "1000000",
        "x-ratelimit-remaining-tokens": "999000",
        "x-ratelimit-reset-tokens": "60.000s",
    }


async def test_above_the_limit_is_429_with_when_to_come_back(house: House) -> None:
    house.limiter.denial = Denial(LimitState(60, 0, 41.2, 100, 5, 41.2), 12.01, "tokens", hopeless=False)
    reply = await house.ask("POST", COMPLETIONS, BODY)
    assert (reply.status, reply.headers["retry-after"]) == (429, "13")
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"
    assert (reply.error["type"], reply.error["code"]) == ("tokens", "rate_limit_exceeded")
    assert house.meter.rejections == [("tokens_per_minute", "default")]
    assert house.app.scopes == [] and house.limiter.settled == []


async def test_what_never_fits_is_not_worth_another_try(house: House) -> None:
    house.limiter.denial = Denial(LimitState(2, 2, 0.0), 60, "requests", hopeless=True)
    reply = await house.ask("POST", COMPLETIONS, {"prompt": ["a"] * 3})
    assert (reply.status, reply.headers["x-should-retry"]) == (429, "false")
    assert "counts as 3 requests, and the limit is 2" in reply.error["message"]


async def test_a_store_that_must_answer_and_does_not_is_503(house: House) -> None:
    house.limiter.denial = StoreUnavailable("refused")
    reply = await house.ask("POST", COMPLETIONS, BODY)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert "refused" not in reply.error["message"]


async def test_an_application_that_fails_gives_all_back(house: House) -> None:
    async def answer(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("broken")

    house.app.answer = answer
    with pytest.raises(RuntimeError, match="broken"):
        await house.ask("POST", COMPLETIONS, BODY)
    assert house.drain.active == 0
    ask, charged = house.limiter.settled[0]
    assert charged < ask.tokens and house.limiter.charges[-1][1] == 0
    assert len(house.meter.endings) == 1
    assert house.lines()[0].items() >= {"status": 500, "reason": "failed"}.items()


async def test_json_lines_where_asked_for(house: House) -> None:
    class Lines:
        def start(self, message: Any) -> Any:
            return {**message, "headers": [(b"content-type", b"application/x-ndjson")]}

        def body(self, message: Any) -> Any:
            return {**message, "body": message["body"].replace(b"data: ", b"")}

    house.with_parts(lines=lambda headers: Lines() if (b"accept", b"x") in headers else None)
    house.app.answer = counted(1, 1)
    assert (await house.ask("POST", COMPLETIONS, BODY, headers=[(b"accept", b"x")])).body == b"{}\n\n"
    assert (await house.ask("POST", COMPLETIONS, BODY)).body == b"data: {}\n\n"


async def test_a_websocket_needs_a_key_like_all_else(house: House) -> None:
    scope = house.scope("GET", "/v1/realtime", type="websocket")
    del scope["method"]
    assert (await house.send(scope)).messages == [{"type": "websocket.close", "code": 1008, "reason": "unauthorized"}]
    able = scope | {"extensions": {"websocket.http.response": {}}}
    refused = await house.send(able)
    assert [message["type"] for message in refused.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert refused.status == 401
    known = scope | {"headers": [(b"authorization", f"Bearer {house.client_key}".encode())]}
    assert (await house.send(known)).messages[0]["type"] == "websocket.accept"
    assert house.lines()[-1].items() >= {"method": "WEBSOCKET", "status": 101}.items()


async def test_the_lifespan_is_the_applications_and_closes_the_parts(house: House) -> None:
    seen: list[str] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        assert not house.closed

    house.app.answer = answer
    reply = await house.send({"type": "lifespan", "state": {}}, [{"type": "lifespan.startup"}])
    assert seen == ["lifespan.startup"]
    assert reply.messages == [{"type": "lifespan.startup.complete"}]
    assert house.closed


async def test_no_key_prompt_or_made_up_path_is_logged(house: House) -> None:
    secret = "llm_zzzz_" + "S" * 43
    await house.ask("POST", COMPLETIONS, {"prompt": "my-prompt"}, key=secret)
    await house.ask("POST", "/my-path", {"prompt": "my-prompt"})
    await house.ask("POST", COMPLETIONS, {"prompt": "my-prompt", "n": "my-number"})
    await house.ask("MYMETHOD", COMPLETIONS)
    log = json.dumps(house.lines())
    assert len(house.lines()) == 4
    assert not any(text in log for text in (secret, house.client_key, "my-p", "my-number", "MYMETHOD"))


async def test_the_front_is_made_from_the_environment(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(configuration, "parts_from", lambda environ: made.append(environ) or house.pipeline._parts)
    front = Gateway(house.app)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await front(house.scope("GET", "/v1/models"), receive, send)
    assert sent[0]["status"] == 401 and len(made) == 1
