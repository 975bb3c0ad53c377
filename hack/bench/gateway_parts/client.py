"""Applications that send each request at its moment, whatever is unanswered, and what they see.

Each application keeps its connections: a request takes the one that was used last, and opens a new one if all are
busy. ``ports`` decides where: one port for a gateway; for a Service all ports of the replicas, of which each new
connection gets one at random, as kube-proxy does it.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway_parts.workload import Request

_END = b"\r\n0\r\n\r\n"
LONGEST_SECONDS = 180.0


@dataclass
class Seen:
    """What came back."""

    ttft: list[float] = field(default_factory=list)
    """Seconds from a request's moment to its first event."""
    output_tokens: int = 0
    """Of complete answers."""
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """From the first request to the end of the last answer."""
    late: list[float] = field(default_factory=list)
    """By how much requests were sent after their moment: the machine's part."""


def send(
    requests: Sequence[Request],
    ports: Sequence[int],
    keep: bool,
    key: str = "",
    seed: int = 0,
    path: str = "/v1/chat/completions",
) -> Seen:
    """Sends all; returns once all are answered. Without `keep` each request has a connection of its own."""
    import uvloop

    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{authorization}"
    return uvloop.run(_Load(requests, ports, keep, head, seed).run())


class _Load:
    def __init__(self, requests: Sequence[Request], ports: Sequence[int], keep: bool, head: str, seed: int) -> None:
        self._requests = requests
        self._ports = ports
        self._keep = keep
        self._head = head
        self._random = random.Random(seed)
        self._idle: dict[int, list[Connection]] = {}
        self._seen = Seen()

    async def run(self) -> Seen:
        gc.collect()
        gc.freeze()
        clock, began, running = time.perf_counter, time.perf_counter(), []
        for request in self._requests:
            wait = began + request.at - clock()
            if wait > 0:
                await asyncio.sleep(wait)
            running.append(asyncio.create_task(self._one(request, began + request.at)))
        await asyncio.gather(*running)
        self._seen.seconds = clock() - began - self._requests[0].at
        for connection in (each for idle in self._idle.values() for each in idle):
            connection.close()
        gc.unfreeze()
        return self._seen

    async def _one(self, request: Request, moment: float) -> None:
        seen = self._seen
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                connection = await self._connection(request.client)
                seen.late.append(time.perf_counter() - moment)
                first = await connection.ask(self._bytes(request))
        except (OSError, TimeoutError, Refused) as error:
            seen.failed.append(f"{type(error).__name__}: {error}"[:200])
            return
        seen.ttft.append(first - moment)
        seen.output_tokens += request.output_tokens
        if self._keep and not connection.closed:
            self._idle.setdefault(request.client, []).append(connection)
        else:
            connection.close()

    async def _connection(self, client: int) -> Connection:
        idle = self._idle.get(client, [])
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        port = self._random.choice(self._ports)
        return (await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port))[1]

    def _bytes(self, request: Request) -> bytes:
        return f"{self._head}Content-Length: {len(request.body)}\r\n\r\n".encode() + request.body


class Refused(Exception):
    """The server refused a request or cut its answer; the text has the beginning of what it said."""


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[float] | None = None
        self._first = 0.0
        self._headed = False
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    async def ask(self, data: bytes) -> float:
        """Sends a request; the moment of its first event, once the answer is complete."""
        assert self._transport is not None
        self._done = asyncio.get_running_loop().create_future()
        self._first, self._headed, self._tail = 0.0, False, b""
        self._transport.write(data)
        try:
            return await self._done
        except BaseException:
            self.close()
            raise

    def data_received(self, data: bytes) -> None:
        if self._done is None or self._done.done():
            return
        if not self._headed:
            self._headed = True
            if not data.startswith(b"HTTP/1.1 200"):
                self._fail(data[:600].decode("utf-8", "replace"))
                return
            self.closed = b"\r\nconnection: close\r\n" in data[:2000].lower()
        if not self._first and b"data: " in data:
            self._first = time.perf_counter()
        self._tail = data[-7:] if len(data) >= 7 else (self._tail + data)[-7:]
        if self._tail == _END:
            self._done.set_result(self._first)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._fail(f"the connection was closed: {error}")

    def close(self) -> None:
        """Closes it."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, text: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(Refused(text))
