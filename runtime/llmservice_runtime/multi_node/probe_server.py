"""Answers the kubelet's probes for the agent, even while its engine restarts, and probes the engine.

It implements the part of HTTP that probes need: one request per connection, answered with a status and a line of text.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from llmservice_contract.container import HEALTH_PATH, READY_PATH
from llmservice_runtime.multi_node.pending_connections import PendingConnections

LINE_BYTES = 2048
OK = b"200"


async def probe_http(port: int, path: str, seconds: float) -> str:
    """Empty if GET `path` is answered with 200, otherwise what was answered instead."""
    try:
        async with asyncio.timeout(seconds):
            status = await _status(port, path)
    except TimeoutError:
        return f"{path} is not answered within {seconds:g} s"
    except (OSError, ValueError):
        return f"{path} is not answered"
    return "" if status == OK else f"{path} is answered with {status.decode('ascii', 'replace')}"


async def _status(port: int, path: str) -> bytes:
    """The status of the answer. Raises OSError or ValueError if there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LINE_BYTES)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        _version, status, *_phrase = (await reader.readline()).split(maxsplit=2)
        return status
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


HEAD_BYTES = 8192

Question = Callable[[], Awaitable[str]]
"""Empty if the probe succeeds, otherwise why it fails."""


async def serve_probes(port: int, health: Question, ready: Question) -> asyncio.Server:
    """Answers on this port until the returned server is closed. Raises OSError if the port is in use."""
    door, questions = PendingConnections(), {HEALTH_PATH: health, READY_PATH: ready}

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            head = await door.first(reader, writer, b"\r\n\r\n")
            if head is not None:
                writer.write(await answer(head, questions))
        finally:
            writer.close()

    return await asyncio.start_server(serve, port=port, limit=HEAD_BYTES)


async def answer(head: bytes, questions: Mapping[str, Question]) -> bytes:
    """The answer to a request with this head."""
    method, path, *_rest = [*head.decode("latin-1").split("\r\n")[0].split(" "), "", ""]
    question = questions.get(path)
    if question is None or method != "GET":
        return _response(HTTPStatus.NOT_FOUND, "there is nothing here")
    wrong = await question()
    return _response(HTTPStatus.SERVICE_UNAVAILABLE, wrong) if wrong else _response(HTTPStatus.OK, "ok")


def _response(status: HTTPStatus, text: str) -> bytes:
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
