"""Streams that wait for a service at zero, with comments."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmservice_operator.gateway.routes import Refusal, ServedService
from support.nginx_gateway import Gateway, Replica, begin, chat, service

Make = Callable[..., Replica]
COMMENTS = {"X-LLMService-Hold": "comments"}
COMMENT = b": waiting for a replica\n\n"
PATH = "/v1/chat/completions"
FIRST_SECONDS = 1.0
"""Within so many seconds a stream that waits gets its first comment."""
STREAM_BYTES = 128 * 1024
"""Maximum memory of NGINX for a stream that waits, with a small body."""


def sleeping(**more: Any) -> ServedService:
    """A service that scales to zero."""
    return replace(service(), scales_to_zero=True, asleep=True, **more)


@contextlib.contextmanager
def waiting(
    gateway: Gateway, body: object = None, path: str = PATH, headers: Mapping[str, str] | None = None
) -> Iterator[Any]:
    """A stream that has got its first comment."""
    gateway.route({sleeping(): []})
    with contextlib.closing(gateway.connect()) as connection:
        response = begin(connection, path, body or chat(None), headers={**COMMENTS, **(headers or {})})
        assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
        assert response.read(len(COMMENT)) == COMMENT
        yield response


def error(events: bytes) -> Any:
    """The error of the last event."""
    return json.loads(events.rpartition(b"data: ")[2])["error"]


def test_a_stream_gets_comments_and_then_the_replicas_stream(gateway: Gateway, replica: Make) -> None:
    first = replica()
    first.behavior = "hold"
    first.finish.set()
    body = chat(None, "x" * 2**21)
    headers = {
        "Authorization": "Bearer k",
        "X-Own": "1",
        "Connection": "close, X-Secret",
        "X-Secret": "1",
        "TE": "gzip",
    }
    with waiting(gateway, body, "/services/chat/v1/chat/completions?a=b", headers) as response:
        gateway.route({sleeping(): [first]})
        assert response.read().replace(COMMENT, b"") == b"data: first\n\ndata: [DONE]\n\n"
    (got,) = first.posts
    assert (got.path, json.loads(got.body)) == ("/v1/chat/completions?a=b", body)
    sent = {name.lower(): value for name, value in got.headers.items()}
    assert (sent["authorization"], sent["x-own"], sent["content-type"]) == ("Bearer k", "1", "application/json")
    assert sent["x-forwarded-for"] == "127.0.0.1"
    assert sent["x-request-id"]
    assert not {"x-secret", "te", "x-llmservice-hold", "transfer-encoding"} & set(sent)
    gateway.wait_for_rest()


def resident_bytes(gateway: Gateway) -> int:
    """Memory of all NGINX processes, with what they share."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in gateway.workers())
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def test_two_hundred_streams_hear_of_it_soon_and_are_answered_once_each(own_gateway: Gateway, replica: Make) -> None:
    first = replica()
    first.behavior = "hold"
    first.finish.set()
    own_gateway.route({sleeping(): []})
    began = threading.Semaphore(0)
    without = resident_bytes(own_gateway)
    waits: list[float] = []

    def stream(number: int) -> bytes:
        with contextlib.closing(own_gateway.connect()) as connection:
            connection.connect()
            sent = time.monotonic()
            response = begin(connection, PATH, chat(None, f"text {number}"), headers=COMMENTS)
            assert response.read(len(COMMENT)) == COMMENT
            waits.append(time.monotonic() - sent)
            began.release()
            return bytes(response.read())

    with ThreadPoolExecutor(200) as pool:
        streams = [pool.submit(stream, number) for number in range(200)]
        for _ in range(200):
            assert began.acquire(timeout=60)
        assert resident_bytes(own_gateway) - without < 200 * STREAM_BYTES
        # This process has two hundred threads, and few of them may be late by themselves.
        assert sorted(waits)[179] < FIRST_SECONDS
        own_gateway.route({sleeping(): [first]})
        ends = {each.result().replace(COMMENT, b"") for each in streams}
    assert ends == {b"data: first\n\ndata: [DONE]\n\n"}
    texts = [json.loads(each.body)["messages"][0]["content"] for each in first.posts]
    assert sorted(texts) == sorted(f"text {number}" for number in range(200))


def test_errors_are_events(gateway: Gateway, replica: Make) -> None:
    for behavior, code in (("refuse", "status_503"), ("reset", "gateway_502"), ("cut", "stream_cut")):
        first = replica()
        first.behavior = behavior
        with waiting(gateway) as response:
            gateway.route({sleeping(): [first]})
            events = response.read()
            assert error(events)["code"] == code
            assert (b"data: first" in events) is (behavior == "cut")
    with waiting(gateway, path="/v1/messages") as response:
        gateway.route({sleeping(refusal=Refusal("NoFreeDevices", 1)): []})
        events = response.read()
        assert b"event: error\ndata: " in events
        assert error(events)["code"] == "cannot_start"
    with waiting(gateway) as response:
        gateway.route({sleeping(): [replica()]})
        assert "X-LLMService-Hold" in error(response.read())["message"]


def test_a_request_that_is_refused_at_once_has_its_status(gateway: Gateway) -> None:
    gateway.route({sleeping(keys_secret="keys"): []})
    assert gateway.ask(PATH, chat(None), headers=COMMENTS).status == 401


def test_another_replica_answers_if_the_first_does_not(gateway: Gateway, replica: Make) -> None:
    bad, good = replica(), replica()
    bad.behavior, good.behavior = "refuse", "hold"
    good.finish.set()
    for _ in range(4):
        with waiting(gateway) as response:
            gateway.route({sleeping(): [bad, good]})
            assert response.read().replace(COMMENT, b"") == b"data: first\n\ndata: [DONE]\n\n"
    gateway.wait_for_rest()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "gateway_502"),
        (b"nonsense\r\n\r\n", "gateway_502"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "stream_cut",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 1000,
            "stream_cut",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: -5\r\n\r\nx", "stream_cut"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 500\r\n\r\nx", "stream_cut"),
        (b'HTTP/1.1 500 X\r\nContent-Length: 28\r\n\r\n{"error": {"code": {"a": 1}}}', "status_500"),
        (b"HTTP/1.1 500 X\r\n\r\n" + b"[" * 200_000, "status_500"),
    ],
    ids=range(8),
)
def test_whatever_a_replica_answers_is_bounded(gateway: Gateway, answer: bytes, code: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        fake = type("Fake", (), {"port": server.getsockname()[1], "revision": ""})()
        with waiting(gateway) as response:
            gateway.route({sleeping(): [fake]})
            assert error(response.read())["code"] == code
        thread.join(60)
