"""A request without a valid key is refused before its body is read, so that it holds no memory."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from llmservice_contract.keys import digest, id_of, make_key
from llmservice_operator.gateway.routes import ServedService
from support.cluster import wait_until
from support.nginx_gateway import Gateway, Replica, service

Make = Callable[..., Replica]
KEY, OTHER = (make_key(bytes([number]) * 40)[0] for number in (1, 2))
HELD = "llmservice_gateway_held_body_bytes"
LARGE, SMALL = "Content-Length: 100000", "Content-Length: 100"


def keyed(name: str = "chat", **more: object) -> ServedService:
    """A service with keys."""
    return replace(service(name), keys_secret="keys", **more)  # type: ignore[arg-type]


def begin(gateway: Gateway, *head: str, path: str = "/v1/completions") -> socket.socket:
    """Sends the head of a request, and nothing of its body."""
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    lines = [f"POST {path} HTTP/1.1", "Host: a", "Content-Type: application/json", *head, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


def status(connection: socket.socket) -> bytes:
    """The status of the answer, which comes although the body has not."""
    return connection.recv(65_536).split(b" ", 2)[1]


@pytest.mark.parametrize("path", ["/v1/completions", "/services/chat/v1/completions"])
@pytest.mark.parametrize("framing", [LARGE, SMALL, "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    "headers", [[], ["Authorization: Bearer no-key"], [f"x-api-key: {KEY}", f"Authorization: Bearer {OTHER}"]]
)
def test_a_body_without_a_key_is_not_read(
    gateway: Gateway, replica: Make, headers: list[str], framing: str, path: str
) -> None:
    only = replica(keys=[KEY])
    gateway.route({keyed(): [only], keyed("other"): []})
    with begin(gateway, framing, *headers, path=path) as sent:
        assert status(sent) == b"401"
        assert gateway.metrics()[HELD] == 0
    assert not only.received


@pytest.mark.parametrize("path", ["/v1/completions", "/services/chat/v1/completions"])
@pytest.mark.parametrize("framing", [LARGE, "Transfer-Encoding: chunked"])
def test_a_large_body_with_a_key_that_no_service_knows_is_not_read(
    own_gateway: Gateway, replica: Make, framing: str, path: str
) -> None:
    only = replica(keys=[KEY])
    own_gateway.route({keyed(): [only]})
    for _ in range(3):
        with begin(own_gateway, framing, f"Authorization: Bearer {OTHER}", path=path) as sent:
            assert status(sent) == b"401"
            assert own_gateway.metrics()[HELD] == 0
    assert [each.method for each in only.received] == ["HEAD"], "it is asked once"


def test_a_large_body_with_a_valid_key_is_read_and_its_replica_asked_once(own_gateway: Gateway, replica: Make) -> None:
    one, other = replica(keys=[OTHER]), replica(keys=[KEY])
    own_gateway.route({keyed("one"): [one], keyed("chat"): [other]})
    for _ in range(3):
        assert own_gateway.chat("chat", "x" * 50_000, key=KEY).status == 200
    assert [each.method for each in other.received] == ["HEAD", "POST", "POST", "POST"]
    assert [each.method for each in one.received] == ["HEAD"]


def test_a_key_of_a_service_beyond_those_that_are_asked_is_no_wrong_one(own_gateway: Gateway, replica: Make) -> None:
    others, last = replica(keys=[OTHER]), replica(keys=[KEY])
    own_gateway.route({**{keyed(f"a{number:02}"): [others] for number in range(70)}, keyed("z"): [last]})
    assert own_gateway.chat("z", "x" * 50_000, key=KEY).status == 200


def test_a_service_that_is_open_reads_bodies_of_all(gateway: Gateway, replica: Make) -> None:
    gateway.route({keyed(): [replica(keys=[KEY])], service("open"): [replica()]})
    assert gateway.chat("open", "x" * 50_000).status == 200
    assert gateway.chat("chat", "x" * 50_000).status == 401, "as the replica says"


def test_if_a_replica_fails_the_key_is_left_to_the_others(gateway: Gateway, replica: Make) -> None:
    stopped = replica()
    stopped.stop()
    only = replica(keys=[KEY])
    gateway.route({keyed(): [stopped, only]})
    for _ in range(8):
        assert gateway.chat("chat", "x" * 50_000, key=KEY).status == 200


@pytest.mark.parametrize(("verdict", "expected"), [("invalid", b"401"), ("unreadable", b"503"), ("valid", b"")])
def test_the_secret_of_a_service_at_zero_decides(own_gateway: Gateway, verdict: str, expected: bytes) -> None:
    own_gateway.route({keyed(scales_to_zero=True, asleep=True): []})
    question = f"team-a/chat:{id_of(KEY)}:{digest(KEY)}"
    with begin(own_gateway, LARGE, f"Authorization: Bearer {KEY}") as sent:
        wait_until(lambda: own_gateway.control("/wanted").decode() == f"key:{question}", "the key is asked for")
        assert own_gateway.metrics()[HELD] == 0
        own_gateway.control("/verdicts", f'{{"{question}": "{verdict}"}}'.encode())
        if expected:
            assert status(sent) == expected
            assert own_gateway.metrics()[HELD] == 0
        else:
            wait_until(lambda: own_gateway.metrics()[HELD] == 100_000, "the body is read", every=0.02)
