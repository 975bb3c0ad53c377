"""One client attacks real vLLM: others are answered meanwhile, and its memory doesn't grow."""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmservice_contract.keys import ID_BYTES, SECRET_BYTES, Role, make_key
from support import attacks
from support.campaign import FULL
from support.cluster import wait_until
from support.guarded import Guarded
from support.raw_http import request, statuses

SECONDS = 3.0 if FULL else 2.0
"""Of each attack, at least."""
ANSWERS = 200
"""In each attack, at least: of fewer than 100 the slowest one would be the p99."""
MOST_SECONDS = 20.0
HEALTH_SECONDS = 0.1
"""Within which /health has to answer 99 of 100 times, not counting what other programs of the machine take."""
ATTEMPTS = 3
HEADER_MIB = 300
GROWTH_MIB = 64


def waited(*threads: str) -> float:
    """How long these threads, by their directories in /proc, have waited for a processor, in seconds."""
    return sum(int(Path(thread, "schedstat").read_text().split()[1]) for thread in threads) / 1e9


def event_loop(guarded: Guarded) -> str:
    """The thread that serves all clients: the main thread of the launcher's first child."""
    launcher = guarded.engine.process.pid
    server = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()[0]
    return f"/proc/{server}/task/{server}"


def health(guarded: Guarded, seconds: float) -> list[float]:
    """How long each request took, less what the event loop's thread and this one waited for a processor meanwhile."""
    took: list[float] = []
    threads = event_loop(guarded), "/proc/thread-self"
    begun_at = time.monotonic()
    while time.monotonic() < begun_at + (seconds if len(took) >= ANSWERS else MOST_SECONDS):
        begun, before = time.perf_counter(), waited(*threads)
        connection = http.client.HTTPConnection("127.0.0.1", guarded.engine.port, timeout=30)
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b""
        connection.close()
        others = waited(*threads) - before
        took.append(time.perf_counter() - begun - others)
        time.sleep(0.005)
    return took


def new_key(guarded: Guarded, tier: str) -> str:
    """A key that the engine knows: one whose requests were refused before is not read, so it would attack with less."""
    plain, stored = make_key(secrets.token_bytes(ID_BYTES + SECRET_BYTES), tier, Role.CLIENT)
    (guarded.engine.log.parent / "keys" / stored.id).write_text(stored.entry())
    asked = request("/v1/models", f"Authorization: Bearer {plain}", "Connection: close")
    wait_until(lambda: statuses(guarded.engine.port, asked) == [200], "the new key")
    return plain


@contextlib.contextmanager
def attacked(guarded: Guarded, name: str, key: str) -> Iterator[None]:
    command = [sys.executable, "-P", attacks.__file__, name, str(guarded.engine.port), key]
    with subprocess.Popen(command) as process:
        try:
            time.sleep(0.3)
            yield
            assert process.poll() is None, "the attack ended"
        finally:
            process.terminate()


def p99(took: list[float]) -> float:
    return sorted(took)[math.ceil(0.99 * len(took)) - 1]


def rss_mib(guarded: Guarded) -> float:
    """Of all processes of the engine."""
    pages, waiting = 0, [guarded.engine.process.pid]
    while waiting:
        process = Path("/proc", str(waiting.pop()))
        with contextlib.suppress(OSError):
            pages += int((process / "statm").read_text().split()[1])
            for children in process.glob("task/*/children"):
                waiting.extend(int(pid) for pid in children.read_text().split())
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


ATTACKS = [*((name, "many") for name in attacks.NAMES), ("objects", "tight"), ("long text", "tight")]
"""With a key that has no limit to speak of, and with one that may send 2 requests a minute."""


@pytest.mark.parametrize(("name", "tier"), ATTACKS)
def test_others_are_answered_while_one_client_attacks(guarded: Guarded, name: str, tier: str) -> None:
    took: list[float] = []
    # What the machine does besides may hold up one attempt; what holds up the event loop holds up all.
    for _ in range(ATTEMPTS):
        with attacked(guarded, name, new_key(guarded, tier)):
            took = health(guarded, SECONDS)
        if p99(took) < HEALTH_SECONDS:
            return
    pytest.fail(f"{len(took)} answers, p99 {p99(took):.3f} s, the slowest {sorted(took)[-5:]}")


def test_headers_without_end_take_no_memory(guarded: Guarded) -> None:
    statuses(guarded.engine.port, request("/health", "Connection: close"))
    before = rss_mib(guarded)
    sent = 0
    for _ in range(10):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", guarded.engine.port)) as connection:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX: ")
            for _ in range(HEADER_MIB):
                connection.sendall(b"a" * 2**20)
                sent += 1
    assert sent < HEADER_MIB
    assert rss_mib(guarded) - before < GROWTH_MIB


def test_half_heads_are_closed_after_ten_seconds(guarded: Guarded) -> None:
    with contextlib.ExitStack() as opened:
        begun = time.monotonic()
        halves = []
        for _ in range(300):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", guarded.engine.port), timeout=30))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n")
            halves.append(connection)
        for connection in halves:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun < 20


UPGRADE = (
    "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng=="
)


@pytest.mark.parametrize(
    "head",
    [f"POST /v1/realtime HTTP/1.1\r\n{UPGRADE}", f"GET /v1/realtime HTTP/1.1\r\n{UPGRADE}\r\nX: {'a' * 9000}"],
)
def test_no_connection_is_kept_for_a_websocket_that_is_none(guarded: Guarded, head: str) -> None:
    with socket.create_connection(("127.0.0.1", guarded.engine.port), timeout=5) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")
