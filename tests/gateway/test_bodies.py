"""Bodies of requests: how long they may take, and how many bytes the gateway holds."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cluster import wait_until
from support.nginx_gateway import Gateway, Replica, nginx_gateway, service

Make = Callable[..., Replica]
SECONDS = 0.3
"""Time for a body of any size."""
HELD = "llmservice_gateway_held_body_bytes"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that gives each byte of a body one more second."""
    with nginx_gateway(tmp_path_factory.mktemp("gateway"), body_seconds=SECONDS, body_rate=1) as made:
        yield made


def begin(port: int, *framing: str) -> socket.socket:
    """Sends the head of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = ["POST /v1/completions HTTP/1.1", "Host: a", "Content-Type: application/json", *framing, "", ""]
    connection.sendall("\r\n".join(head).encode())
    return connection


def answer(connection: socket.socket) -> bytes:
    """All that comes until the gateway closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65_536):
            received += data
    return received


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_refused_and_holds_nothing(gateway: Gateway, replica: Make, framing: str) -> None:
    only = replica()
    gateway.route({service(): [only]})
    with begin(gateway.port, framing) as slow:
        found = answer(slow)
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in found
    assert b"Connection: close" in found
    assert gateway.metrics()[HELD] == 0
    assert not only.received


def test_one_byte_at_a_time_is_too_slow(tmp_path: Path, replica: Make) -> None:
    with nginx_gateway(tmp_path / "gateway", body_seconds=SECONDS, body_rate=2**30) as gateway:
        gateway.route({service(): [replica()]})
        sent = 0
        with begin(gateway.port, "Content-Length: 1000000") as slow:
            slow.settimeout(0.01)
            received = b""
            while not received and sent < 1_000_000:
                slow.sendall(b" ")
                sent += 1
                with contextlib.suppress(TimeoutError):
                    received = slow.recv(65_536)
        assert received.startswith(b"HTTP/1.1 408 ")
        assert sent < 1_000_000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_more_time_for_each_byte_that_has_come(gateway: Gateway, replica: Make, chunked: bool) -> None:
    only = replica()
    gateway.route({service(): [only]})
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 20000"
    with begin(gateway.port, framing) as first:
        first.sendall(b"4e20\r\n" * chunked + b" " * 19_999)
        wait_until(lambda: gateway.metrics()[HELD] > 0, "its body is held", every=0.02)
        for _ in range(2):
            with begin(gateway.port, "Content-Length: 10") as later:
                assert answer(later).startswith(b"HTTP/1.1 408 ")
        first.sendall(b" " + b"\r\n0\r\n\r\n" * chunked)
        assert first.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert [len(each.body) for each in only.posts] == [20_000]
    wait_until(lambda: gateway.metrics()[HELD] == 0, "no body is held", every=0.02)


def test_what_a_worker_held_that_died_no_longer_counts(own_gateway: Gateway) -> None:
    own_gateway.route({service(): []})
    with begin(own_gateway.port, "Content-Length: 100000"):
        wait_until(lambda: own_gateway.metrics()[HELD] == 100_000, "its body is held", every=0.02)
        for each in own_gateway.workers():
            os.kill(each, signal.SIGKILL)
        wait_until(lambda: own_gateway.metrics()[HELD] == 0, "no body is held", every=0.1)
