"""The agent's HTTP, as far as probes need it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from llmservice_runtime.multi_node import pending_connections
from llmservice_runtime.multi_node.probe_server import probe_http, serve_probes


async def fine() -> str:
    return ""


async def waits() -> str:
    return "waits for rank 0"


async def ask(port: int, head: str) -> list[str]:
    """The lines of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    return answer.decode().split("\r\n")


async def test_each_question_has_its_answer(unused_tcp_port: int) -> None:
    async with await serve_probes(unused_tcp_port, fine, waits):
        head = "Host: a\r\nUser-Agent: kube-probe/1.37\r\n\r\n"
        answer = await ask(unused_tcp_port, f"GET /health HTTP/1.1\r\n{head}")
        assert (answer[0], answer[-1]) == ("HTTP/1.1 200 OK", "ok\n")
        answer = await ask(unused_tcp_port, f"GET /ready HTTP/1.1\r\n{head}")
        assert (answer[0], answer[-1]) == ("HTTP/1.1 503 Service Unavailable", "waits for rank 0\n")
        for other in ("GET /metrics HTTP/1.1", "POST /health HTTP/1.1", "GET", "\x16\x03\x01"):
            assert (await ask(unused_tcp_port, f"{other}\r\n{head}"))[0] == "HTTP/1.1 404 Not Found"


async def test_who_says_nothing_keeps_nobody_out(unused_tcp_port: int) -> None:
    async with await serve_probes(unused_tcp_port, fine, fine):
        silent = [
            await asyncio.open_connection("127.0.0.1", unused_tcp_port) for _ in range(2 * pending_connections.PLACES)
        ]
        assert await probe_http(unused_tcp_port, "/health", seconds=2) == ""
        async with asyncio.timeout(2):
            assert await silent[0][0].read() == b"", "the one that was silent for longest had to go"
        for _reader, writer in silent:
            writer.close()


async def test_who_says_too_much_or_too_little_is_hung_up_on(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_connections, "SECONDS", 0.1)
    async with await serve_probes(unused_tcp_port, fine, fine):
        for said in ("", "GET /health", "x" * 100_000):
            try:
                assert await ask(unused_tcp_port, said) == [""]
            except ConnectionError:
                continue


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "/health is answered with 503"),
        (b"", "/health is not answered"),
        (b"\r\n", "/health is not answered"),
        (b"x" * 100_000, "/health is not answered"),
    ],
)
async def test_a_look_is_told_in_words(answer: bytes, found: str) -> None:
    async with await serving(lambda writer: writer.write(answer)) as server:
        assert await probe_http(port_of(server), "/health", seconds=5) == found


async def test_a_look_takes_a_bounded_time() -> None:
    kept: list[asyncio.StreamWriter] = []
    async with await serving(kept.append, close=False) as server:
        assert await probe_http(port_of(server), "/health", seconds=0.1) == "/health is not answered within 0.1 s"
        for writer in kept:
            writer.close()


async def test_a_look_at_nobody(unused_tcp_port: int) -> None:
    assert await probe_http(unused_tcp_port, "/health", seconds=5) == "/health is not answered"


async def serving(write: Callable[[asyncio.StreamWriter], object], *, close: bool = True) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        write(writer)
        if close:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])
