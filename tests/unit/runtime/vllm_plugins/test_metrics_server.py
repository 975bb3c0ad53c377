"""The metrics port: its page and nothing else, whatever is sent to it and however often."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from llmservice_runtime.vllm_plugins import metrics_server
from llmservice_runtime.vllm_plugins.metrics_server import MetricsServer

HOST = "127.0.0.1"
HEAD = "Host: a\r\nUser-Agent: Prometheus/3\r\nAccept-Encoding: gzip\r\n\r\n"


@asynccontextmanager
async def served(render: Callable[[], bytes], port: int) -> AsyncIterator[None]:
    async with await MetricsServer(render).listen(port, HOST):
        yield


async def said(port: int, sent: str) -> str:
    """All that is answered before the connection is closed."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(sent.encode("latin-1"))
            return (await reader.read()).decode()
        except ConnectionError:
            return ""
        finally:
            writer.close()


async def test_the_page_is_served_and_nothing_else(unused_tcp_port: int) -> None:
    async with served(lambda: b"up 1\n", unused_tcp_port):
        answer = await said(unused_tcp_port, f"GET /metrics HTTP/1.1\r\n{HEAD}")
        assert answer.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
        assert answer.endswith("\r\n\r\nup 1\n")
        for path in ("/", "/metrics/", "/metrics?name[]=up", "//metrics", "/v1/models", "http://a/metrics", ""):
            assert "404 Not Found" in await said(unused_tcp_port, f"GET {path} HTTP/1.1\r\n{HEAD}")
        for method in ("POST", "HEAD", "PUT", "get", ""):
            assert "405 Method Not Allowed" in await said(unused_tcp_port, f"{method} /metrics HTTP/1.1\r\n{HEAD}")


async def test_requests_that_come_together_share_a_page_that_is_younger_than_they(unused_tcp_port: int) -> None:
    pages = 0

    def render() -> bytes:
        nonlocal pages
        pages += 1
        begun = time.monotonic()
        while time.monotonic() < begun + 0.01:
            pass
        return f"page {pages}\n".encode()

    async def page() -> int:
        return int((await said(unused_tcp_port, f"GET /metrics HTTP/1.1\r\n{HEAD}")).rpartition(" ")[2])

    async with served(render, unused_tcp_port):
        assert await page() == 1
        begun = time.monotonic()
        assert set(await asyncio.gather(*(page() for _ in range(20)))) == {2}
        assert await page() == 3
        assert time.monotonic() - begun > 2 * metrics_server.REST * 0.01, "rendering rests in between"


async def test_a_page_that_fails_is_told_and_the_next_one_is_tried(unused_tcp_port: int) -> None:
    outcomes = iter([ValueError("no"), b"up 1\n"])

    def render() -> bytes:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async with served(render, unused_tcp_port):
        assert "500 Internal Server Error" in await said(unused_tcp_port, f"GET /metrics HTTP/1.1\r\n{HEAD}")
        assert "200 OK" in await said(unused_tcp_port, f"GET /metrics HTTP/1.1\r\n{HEAD}")


async def test_a_head_has_a_bound_in_bytes_and_in_time(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "SECONDS", 0.2)
    async with served(lambda: b"", unused_tcp_port):
        for sent in ("", "GET /metrics HTTP/1.1\r\n", f"GET /metrics HTTP/1.1\r\nX: {'a' * 100_000}\r\n\r\n"):
            assert await said(unused_tcp_port, sent) == ""


async def test_a_client_that_reads_slowly_is_hung_up_on(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "SECONDS", 0.2)
    page, received = b"x" * 50_000_000, 0
    async with served(lambda: page, unused_tcp_port), asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(HOST, unused_tcp_port, limit=1000)
        writer.write(f"GET /metrics HTTP/1.1\r\n{HEAD}".encode())
        with contextlib.suppress(ConnectionError):
            begun = time.monotonic()
            while time.monotonic() < begun + 2 * metrics_server.SECONDS:
                received += len(await reader.read(1000))
                await asyncio.sleep(0.001)
            received += len(await reader.read())
        writer.close()
    assert received < len(page)


async def test_silent_connections_keep_prometheus_out_of_nothing(unused_tcp_port: int) -> None:
    async with served(lambda: b"up 1\n", unused_tcp_port):
        many = [await asyncio.open_connection(HOST, unused_tcp_port) for _ in range(2 * metrics_server.CONNECTIONS)]
        assert "200 OK" in await said(unused_tcp_port, f"GET /metrics HTTP/1.1\r\n{HEAD}")
        async with asyncio.timeout(5):
            assert await many[0][0].read() == b"", "the oldest one had to go"
        for _reader, writer in many:
            writer.close()


def test_its_thread_answers_while_the_main_one_is_busy_and_a_taken_port_is_told(unused_tcp_port: int) -> None:
    MetricsServer(lambda: b"up 1\n").start(unused_tcp_port, HOST)
    with urllib.request.urlopen(f"http://{HOST}:{unused_tcp_port}/metrics", timeout=5) as answer:
        assert answer.read() == b"up 1\n"
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            MetricsServer(lambda: b"").start(taken.getsockname()[1], HOST)
