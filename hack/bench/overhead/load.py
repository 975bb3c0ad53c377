"""A load of streams on one server, from one thread.

It uses HTTP/1.1 with persistent connections, and finds only the start, the events and the end of an answer: a full
client would cost more than the servers that are compared.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import uvloop

_OK = b"HTTP/1.1 200"
_END = b"\r\n0\r\n\r\n"
_EVENT = b"data: "
RAMP_SECONDS = 0.1
"""Over which the streams begin."""
LONGEST_SECONDS = 120.0

T = TypeVar("T")


class LoadFailed(Exception):
    """The server refused or cut an answer; the text has the beginning of what it said."""


@dataclass
class Outcome:
    """What came back."""

    seconds: float = 0.0
    requests: int = 0
    """Answers that are complete."""
    chunks: int = 0
    ttft: list[float] = field(default_factory=list)
    """Seconds from a request to the first event of its answer."""


def request_bytes(
    body: dict[str, object], key: str = "", path: str = "/v1/completions", headers: Mapping[str, str] | None = None
) -> bytes:
    """One request as it goes over the wire."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def run_load(
    port: int, request: bytes, streams: int, each: int = 0, seconds: float = 0.0, ramp: float = RAMP_SECONDS
) -> Outcome:
    """`each` requests on every stream, or, with `seconds`, as many as come, cut off at the end.

    The streams begin within `ramp` seconds. Where that is as long as an answer, they go on asking one after the other.
    """
    return uvloop.run(_run(port, request, streams, each, seconds, ramp))


def run_busy(
    port: int, requests: Sequence[bytes], settle: float, seconds: float, look: Callable[[], T]
) -> tuple[Outcome, T, T]:
    """A stream for each request, which it asks again and again. What came back within `seconds` after the first
    `settle`, and what `look` saw at the beginning and the end of that time; then the streams are cut off."""
    return uvloop.run(_busy(port, requests, settle, seconds, look))


async def _busy(
    port: int, requests: Sequence[bytes], settle: float, seconds: float, look: Callable[[], T]
) -> tuple[Outcome, T, T]:
    settling, outcome, loop = Outcome(), Outcome(), asyncio.get_running_loop()
    streams = [_Stream(settling, request, 0) for request in requests]
    following = iter(streams)
    try:
        for _ in requests:
            await loop.create_connection(following.__next__, "127.0.0.1", port)
        await _unless_one_ends(streams, settle)
        before = await asyncio.to_thread(look)
        for stream in streams:
            stream.outcome = outcome
        await _unless_one_ends(streams, seconds)
        return outcome, before, await asyncio.to_thread(look)
    finally:
        for stream in streams:
            stream.close()


async def _unless_one_ends(streams: Sequence[_Stream], seconds: float) -> None:
    done, _ = await asyncio.wait([each.done for each in streams], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in done:
        each.result()


async def _run(port: int, request: bytes, streams: int, each: int, seconds: float, ramp: float) -> Outcome:
    outcome, loop = Outcome(), asyncio.get_running_loop()
    began = time.perf_counter()
    opened = []
    for number in range(streams):
        await asyncio.sleep(max(0.0, began + number * ramp / streams - time.perf_counter()))
        opened.append((await loop.create_connection(lambda: _Stream(outcome, request, each), "127.0.0.1", port))[1])
    waiting = [stream.done for stream in opened]
    done, pending = await asyncio.wait(waiting, timeout=seconds or LONGEST_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
    outcome.seconds = time.perf_counter() - began
    for stream in opened:
        stream.close()
    for each_done in done:
        each_done.result()
    if pending and not seconds:
        raise LoadFailed(f"the server took more than {LONGEST_SECONDS:g} s")
    return outcome


class _Stream(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self, outcome: Outcome, request: bytes, each: int) -> None:
        self.outcome = outcome
        """Where what comes is counted."""
        self._request, self._left = request, each or -1
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.WriteTransport | None = None
        self._began: float | None = None
        """When the request went out; None once its first event is here."""
        self._tail, self._headed = b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._ask()

    def data_received(self, data: bytes) -> None:
        if self._began is not None:
            if not self._headed:
                if not data.startswith(_OK):
                    self._fail(data[:600].decode("utf-8", "replace"))
                    return
                self._headed = True
            if _EVENT in data:
                self.outcome.ttft.append(time.perf_counter() - self._began)
                self._began = None
        self.outcome.chunks += data.count(_EVENT)
        tail = data[-7:] if len(data) >= 7 else (self._tail + data)[-7:]
        if tail == _END:
            self.outcome.requests += 1
            self._left -= 1
            if self._left:
                self._ask()
            elif not self.done.done():
                self.done.set_result(None)
        self._tail = tail

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection was closed: {error}")

    def close(self) -> None:
        """Cuts what is still on its way."""
        if not self.done.done():
            self.done.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _ask(self) -> None:
        assert self._transport is not None
        self._tail, self._headed = b"", False
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def _fail(self, text: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadFailed(text))
