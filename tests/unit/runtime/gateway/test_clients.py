"""What SDKs and proxies rely on: errors in the form of the API that was called, statuses, headers of streams."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from llmservice_contract.policy import Policy

COMPLETIONS = "/v1/completions"
MESSAGES = "/v1/messages"
BODY = {"prompt": "12345678", "max_tokens": 10}
MESSAGE = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
VERSION = (b"anthropic-version", b"2023-06-01")


def events(*parts: bytes, headers: Any = STREAM) -> Any:
    """An application that streams."""

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return answer


async def test_a_key_may_be_sent_as_anthropics_sdk_sends_it(house: Any) -> None:
    headers = [(b"x-api-key", house.client_key.encode()), VERSION]
    reply = await house.ask("POST", MESSAGES, MESSAGE, key=None, headers=headers)
    assert reply.status == 200
    assert house.limiter.asks[0].key_id == house.client_id
    assert reply.headers["request-id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("path", [MESSAGES, "/v1/messages/count_tokens", "/v1/messages/batches", COMPLETIONS])
async def test_a_refusal_has_the_form_of_the_api_that_was_called(house: Any, path: str) -> None:
    reply = await house.ask("POST", path, BODY, key="none")
    assert reply.status == 401
    document = json.loads(reply.body)
    if path == COMPLETIONS:
        assert set(document) == {"error"}
        assert set(document["error"]) == {"message", "type", "param", "code"}
        assert "request-id" not in reply.headers
    else:
        assert set(document) == {"type", "error", "request_id"}
        assert document["type"] == "error"
        assert document["error"].keys() == {"type", "message"}
        assert document["error"]["type"] == "authentication_error"
        assert document["request_id"] == reply.headers["request-id"] == "made-up"


@pytest.mark.parametrize("path", ["/v2/rerank", "/v2/embed", "/cohere/v2/chat"])
async def test_a_refusal_of_coheres_api_has_a_message_of_its_own(house: Any, path: str) -> None:
    reply = await house.ask("POST", path, BODY, key="none")
    document = json.loads(reply.body)
    assert reply.status == 401
    assert set(document) == {"id", "message", "error"}
    assert document["id"] == reply.headers["x-request-id"]
    assert document["message"] == document["error"]["message"]
    assert set(json.loads((await house.ask("POST", "/v1/rerank", BODY, key="none")).body)) == {"error"}


async def test_a_path_of_both_apis_answers_in_the_form_of_the_client(house: Any) -> None:
    reply = await house.ask("GET", "/v1/models", key="none", headers=[VERSION])
    assert json.loads(reply.body)["error"]["type"] == "authentication_error"
    assert (await house.ask("GET", "/v1/models", key="none")).error["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"max_tokens": 11}, 400, "invalid_request_error"),
        ({"metadata": {"a": "a" * 20_000}}, 400, "invalid_request_error"),
        ({"pad": "a" * 40_000}, 413, "request_too_large"),
    ],
)
async def test_refusals_of_messages_have_anthropics_types(
    house: Any, change: dict[str, Any], status: int, kind: str
) -> None:
    house.caps(max_tokens=10, body_bytes=32_768)
    reply = await house.ask("POST", MESSAGES, MESSAGE | change)
    assert (reply.status, json.loads(reply.body)["error"]["type"]) == (status, kind)


async def test_a_draining_replica_is_overloaded_to_anthropics_sdk(house: Any) -> None:
    house.drain.refuses = True
    reply = await house.ask("POST", MESSAGES, MESSAGE)
    assert (reply.status, json.loads(reply.body)["error"]["type"]) == (503, "overloaded_error")
    assert reply.headers["retry-after"] == "1"


async def last_event(house: Any, path: str, body: Any) -> tuple[str, dict[str, Any]]:
    """Name and data of the event that ends a stream at its deadline, after one event."""

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        await send({"type": "http.response.body", "body": b"event: ping\ndata: {}\n\n", "more_body": True})
        await receive()

    house.caps(deadline_seconds=5)
    house.app.answer = answer
    reply = await house.ask("POST", path, body)
    *event, data = reply.body.decode().split("\n\n")[1].split("\n")
    return "".join(event), json.loads(data.removeprefix("data: "))


@pytest.mark.looptime
async def test_a_stream_ends_with_an_error_event_of_its_api(house: Any) -> None:
    event, data = await last_event(house, MESSAGES, MESSAGE)
    assert (event, data["type"], data["error"]["type"]) == ("event: error", "error", "timeout_error")
    event, data = await last_event(house, "/v1/responses", {"model": "m", "input": "Hello"})
    assert (event, data["type"], data["code"], data["sequence_number"]) == ("event: error", "error", "deadline", 1)
    assert data["error"]["code"] == "deadline"
    event, data = await last_event(house, COMPLETIONS, BODY)
    assert (event, set(data), data["error"]["code"]) == ("", {"error"}, "deadline")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1//completions", "/v1/completions/", "/V1/completions", "/v2/chat"])
async def test_an_unknown_path_is_not_found(house: Any, path: str) -> None:
    for policy in (house.policy, Policy()):
        house.policy = policy
        reply = await house.ask("POST", path, BODY)
        assert (reply.status, reply.error["code"]) == (404, "unknown_url")
    assert house.app.scopes == []


async def test_another_method_is_not_allowed(house: Any) -> None:
    reply = await house.ask("GET", COMPLETIONS)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert house.app.scopes == []
    assert (await house.ask("GET", "/v1/load_lora_adapter")).status == 404, "an admin's path has no methods for clients"


async def test_a_model_is_asked_for_by_its_name(house: Any) -> None:
    reply = await house.ask("GET", "/v1/models/a/b", raw_path=b"/v1/models/a%2Fb")
    assert reply.status == 200
    assert house.lines()[0]["route"] == "/v1/models/{id}"
    assert (await house.ask("GET", "/v1/models/a", key=None)).status == 401


async def test_a_proxy_is_asked_not_to_keep_events_back(house: Any) -> None:
    house.app.answer = events(b"data: {}\n\n")
    reply = await house.ask("POST", COMPLETIONS, BODY)
    assert (reply.headers["x-accel-buffering"], reply.headers["cache-control"]) == ("no", "no-cache, no-transform")
    house.app.answer = events(b"data: {}\n\n", headers=[*STREAM, (b"Cache-Control", b"no-store")])
    reply = await house.ask("POST", COMPLETIONS, BODY)
    assert (reply.headers["Cache-Control"], "cache-control" in reply.headers) == ("no-store", False)
    house.app.answer = None
    assert "x-accel-buffering" not in (await house.ask("POST", COMPLETIONS, BODY)).headers


@pytest.mark.parametrize("encoding", [b"gzip", b"zstd", b"identity, br", b" GZIP "])
@pytest.mark.parametrize("path", [COMPLETIONS, "/v1/audio/transcriptions"])
async def test_a_compressed_body_is_refused_as_such_and_not_read(house: Any, encoding: bytes, path: str) -> None:
    headers = [(b"content-encoding", encoding)]
    reply = await house.ask("POST", path, gzip.compress(json.dumps(BODY).encode()), headers=headers)
    assert (reply.status, reply.error["code"]) == (415, "content_encoding")
    assert reply.headers["connection"] == "close"
    assert house.app.scopes == []


async def test_a_body_that_says_that_it_is_not_compressed_passes(house: Any) -> None:
    assert (await house.ask("POST", COMPLETIONS, BODY, headers=[(b"content-encoding", b"Identity")])).status == 200
