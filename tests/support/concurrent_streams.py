"""Many concurrent users of one server, each with its own connection and stream, in one thread.

While they run, data is only stored; it is parsed afterwards. A client that parses each event at once would need more
CPU than the server.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

BODY_END = b"\r\n0\r\n\r\n"
EVENT = b"data: "
DONE = b"[DONE]"


@dataclass(frozen=True)
class Heard:
    """What one user heard, and when."""

    status: int
    tokens: int
    """Counted in the events themselves."""
    usage: int
    """The server's own count."""
    whole: bool
    """With its end mark and the end of its body."""
    first: float
    last: float
    said: str
    """The beginning of an answer that is no stream."""


def request_bytes(key: str, **body: Any) -> bytes:
    """One request for a stream that tells its tokens, as it goes over the wire."""
    asked = {"model": "tiny", "stream": True, "stream_options": {"include_usage": True}, "return_token_ids": True}
    data = json.dumps(asked | body).encode()
    lines = ("POST /v1/completions HTTP/1.1", "Host: test", "Content-Type: application/json")
    more = (f"Authorization: Bearer {key}", f"Content-Length: {len(data)}", "", "")
    return "\r\n".join((*lines, *more)).encode() + data


async def ask_all(port: int, requests: Sequence[bytes], patience: float) -> list[Heard]:
    """Connects every user, then sends all requests; each user leaves when its stream has ended.

    Who is refused stays until the server closes the idle connection.
    """
    loop = asyncio.get_running_loop()
    users = [_User() for _ in requests]
    async with asyncio.timeout(patience):
        for user in users:
            await loop.create_connection(lambda user=user: user, "127.0.0.1", port)  # type: ignore[misc]
        for user, request in zip(users, requests, strict=True):
            user.ask(request)
        await asyncio.gather(*(user.gone for user in users))
    return [user.heard() for user in users]


def most_at_once(heard: Iterable[Heard]) -> int:
    """The largest number of streams that had begun and not ended."""
    moments = sorted(moment for each in heard for moment in ((each.first, 1), (each.last, -1)))
    return max(itertools.accumulate(change for _, change in moments), default=0)


class _User(asyncio.Protocol):
    """One connection, one request."""

    def __init__(self) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pieces: list[bytes] = []
        self._tail = b""
        self._first = self._last = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> None:
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self._first and EVENT in data:
            self._first = time.monotonic()
        self._pieces.append(data)
        self._tail = (self._tail + data[-len(BODY_END) :])[-len(BODY_END) :]
        if self._tail == BODY_END and self._transport is not None:
            self._last = time.monotonic()
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._last = self._last or time.monotonic()
        if not self.gone.done():
            self.gone.set_result(None)

    def heard(self) -> Heard:
        data = b"".join(self._pieces)
        events = [line.removeprefix(EVENT).strip() for line in data.split(b"\n") if line.startswith(EVENT)]
        messages = [json.loads(event) for event in events if event != DONE]
        return Heard(
            status=int(data[9:12] or b"0"),
            tokens=sum(len(choice["token_ids"] or ()) for each in messages for choice in each.get("choices", ())),
            usage=next((each["usage"]["completion_tokens"] for each in reversed(messages) if each.get("usage")), 0),
            whole=data.endswith(BODY_END) and events[-1:] == [DONE],
            first=self._first,
            last=self._last,
            said="" if events else data[-300:].decode(errors="replace"),
        )
