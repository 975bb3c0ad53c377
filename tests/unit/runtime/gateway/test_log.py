"""The log: one line for each request, for machines or for people."""

from __future__ import annotations

import json
import logging
from io import StringIO

import pytest

from llmservice_runtime.gateway.log import Line, Log, Wordless
from llmservice_runtime.gateway.request_context import headers_for_vllm, request_id

LINE = Line("id-1", "abcd", "default", "POST", "/v1/completions", 200, 1.25, 0.5, 7, 0)


def test_a_line_of_json_has_what_is_known() -> None:
    stream = StringIO()
    Log(stream, as_json=True, now=lambda: 0.0).request(LINE)
    assert json.loads(stream.getvalue()) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "event": "request",
        "request_id": "id-1",
        "key_id": "abcd",
        "tier": "default",
        "method": "POST",
        "route": "/v1/completions",
        "status": 200,
        "seconds": 1.25,
        "ttft_seconds": 0.5,
        "prompt_tokens": 7,
        "completion_tokens": 0,
    }
    assert stream.getvalue().count("\n") == 1


def test_a_line_for_people() -> None:
    stream = StringIO()
    log = Log(stream, as_json=False, now=lambda: 0.0)
    log.request(Line("id-1", "", "none", "GET", "unknown", 401, 0.1, reason="unauthorized"))
    log.say("A sentence.")
    assert stream.getvalue() == (
        "llmservice: request_id=id-1 tier=none method=GET route=unknown status=401 seconds=0.1 reason=unauthorized\n"
        "llmservice: A sentence.\n"
    )


def test_a_closed_stream_costs_no_request() -> None:
    stream = StringIO()
    stream.close()
    Log(stream, as_json=True, now=lambda: 0.0).request(LINE)


def test_a_clients_id_is_kept_if_it_fits() -> None:
    def chosen(*ids: bytes) -> str:
        return request_id([(b"x-request-id", each) for each in ids], lambda: "new")

    assert chosen(b"a" * 128) == "a" * 128
    assert chosen(b"!~") == "!~"
    for bad in ((), (b"",), (b"a" * 129,), (b"a b",), (b"a\nb",), (b"\xc3\xa9",), (b"a", b"a")):
        assert chosen(*bad) == "new"


def test_the_chosen_id_replaces_all_others() -> None:
    headers = [(b"x-request-id", b"a"), (b"host", b"h"), (b"x-request-id", b"b")]
    assert headers_for_vllm(headers, "new") == [(b"host", b"h"), (b"x-request-id", b"new")]


def test_the_http_server_tells_no_path_of_a_websocket(caplog: pytest.LogCaptureFixture) -> None:
    server = logging.getLogger("uvicorn.error.of_a_test")
    server.addFilter(Wordless())
    with caplog.at_level(logging.INFO, server.name):
        server.info('%s - "WebSocket %s" %d', "10.0.0.1:1", "/v1/realtime?api_key=secret", 401)
        server.error("ASGI callable returned without completing handshake.")
        server.error("Exception in ASGI application\n")
    assert caplog.messages == ["Exception in ASGI application\n"]


def test_vllm_never_sees_an_engine_that_a_client_chose() -> None:
    headers = [(b"x-data-parallel-rank", b"1"), (b"host", b"h")]
    assert headers_for_vllm(headers, "new") == [(b"host", b"h"), (b"x-request-id", b"new")]
