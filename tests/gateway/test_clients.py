"""How many requests one client's address may have at a time."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cluster import wait_until
from support.nginx_gateway import Gateway, Replica, begin, chat, nginx_gateway, service

Make = Callable[..., Replica]
MOST = 3


@pytest.fixture
def limited(tmp_path: Path, replica: Make) -> Iterator[tuple[Gateway, Replica]]:
    """A gateway behind a trusted proxy, with a replica whose streams do not end."""
    settings = {"client_requests": MOST, "trusted_proxies": ("127.0.0.0/8", "10.0.0.0/8")}
    with nginx_gateway(tmp_path / "gateway", **settings) as gateway:
        only = replica()
        only.behavior = "hold"
        gateway.route({service(): [only]})
        yield gateway, only


@contextlib.contextmanager
def streams(gateway: Gateway, count: int, forwarded: str) -> Iterator[None]:
    """So many streams of a client that have begun."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(contextlib.closing(gateway.connect()))
            assert open_stream(connection, forwarded) == 200
        yield


def open_stream(connection: object, forwarded: str) -> int:
    """The status of a stream."""
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    return begin(connection, "/v1/chat/completions", chat("chat"), headers=headers).status  # type: ignore[arg-type]


def status(gateway: Gateway, forwarded: str) -> int:
    """The status of one more."""
    with contextlib.closing(gateway.connect()) as connection:
        return open_stream(connection, forwarded)


def test_a_client_with_too_many_requests_gets_429_and_others_are_served(limited: tuple[Gateway, Replica]) -> None:
    gateway, only = limited
    with streams(gateway, MOST, "192.0.2.1"):
        with contextlib.closing(gateway.connect()) as connection:
            refused = begin(connection, "/v1/models", headers={"X-Forwarded-For": "192.0.2.1"})
            assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
            assert b'"too_many_connections"' in refused.read()
        assert status(gateway, "192.0.2.2") == 200
    gateway.wait_for_rest()
    assert status(gateway, "192.0.2.1") == 200
    assert only.received[0].headers["X-Forwarded-For"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "198.51.100.7, 192.0.2.1, 10.1.1.1", True),
        ("192.0.2.1", "192.0.2.1, 198.51.100.7", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("no address", "", True),
    ],
)
def test_a_client_is_the_last_address_that_no_trusted_proxy_has(
    limited: tuple[Gateway, Replica], first: str, second: str, same: bool
) -> None:
    with streams(limited[0], MOST, first):
        assert status(limited[0], second) == (429 if same else 200)


def test_without_trusted_proxies_the_header_says_nothing(tmp_path: Path, replica: Make) -> None:
    with nginx_gateway(tmp_path / "gateway", client_requests=MOST) as gateway:
        only = replica()
        only.behavior = "hold"
        gateway.route({service(): [only]})
        with streams(gateway, MOST, "192.0.2.1"):
            assert status(gateway, "192.0.2.2") == 429


def test_a_reload_and_a_dead_worker_lose_and_keep_no_count(limited: tuple[Gateway, Replica]) -> None:
    gateway, _ = limited
    with streams(gateway, MOST, "192.0.2.1"):
        gateway.reload()
        assert status(gateway, "192.0.2.1") == 429
        for worker in gateway.workers():
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: status(gateway, "192.0.2.1") == 200, "its requests no longer count", every=0.1)
