"""Raw HTTP: an attacker may send anything and read as it likes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REFUSED = 0
"""Status where nothing came back that is an answer: closed, or nothing in time."""


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: bytes = b""

    def json(self) -> Any:
        """The body's value; None if it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Server:
    """Where the attacked server listens, and the key that the attacker has."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection, closed at once afterwards."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, method: str, path: str, length: int | None = None, more: Mapping[str, str] | None = None) -> bytes:
        """A request's head with the key. ``length`` of its body, None for none."""
        fields = {"Host": "x", "Authorization": f"Bearer {self.key}", "Connection": "close", **(more or {})}
        if length is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(length)} | dict(more or {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()

    async def post(self, path: str, body: Any, seconds: float = 10.0, more: Mapping[str, str] | None = None) -> Reply:
        """The answer to a body: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.send(self.head("POST", path, len(raw), more) + raw, seconds)

    async def send(self, raw: bytes, seconds: float = 10.0) -> Reply:
        """The answer to these bytes."""
        try:
            async with asyncio.timeout(seconds), self.connection() as (reader, writer):
                writer.write(raw)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                return await reply(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            return Reply(REFUSED)

    async def drip(self, pieces: Sequence[bytes], pause: float, seconds: float) -> Reply:
        """The answer where the bytes come in pieces; the last one again and again until the time is over."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with self.connection() as (reader, writer):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                while asyncio.get_running_loop().time() < deadline and not reader.at_eof():
                    writer.write(pieces[-1])
                    await writer.drain()
                    await asyncio.sleep(pause)
                async with asyncio.timeout(0.2):
                    return await reply(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            return Reply(REFUSED)

    async def events(self, path: str, body: Mapping[str, Any], seconds: float) -> AsyncIterator[Any]:
        """The events of a streamed answer, until it ends or the time is over; nothing of one that is refused."""
        raw = json.dumps({**body, "stream": True}).encode()
        try:
            async with asyncio.timeout(seconds), self.connection() as (reader, writer):
                writer.write(self.head("POST", path, len(raw)) + raw)
                if b" 200" not in await reader.readline():
                    return
                async for line in reader:
                    if line.startswith(b"data: {"):
                        yield json.loads(line[6:])
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            return


async def reply(reader: asyncio.StreamReader) -> Reply:
    """The answer that comes on a connection which ends after it."""
    line = await reader.readline()
    status = int(line.split()[1]) if line.startswith(b"HTTP/") else REFUSED
    whole = await reader.read()
    while more := await reader.read():
        whole += more
    head, _, body = whole.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = _unchunked(body)
    return Reply(status, body)


def _unchunked(body: bytes) -> bytes:
    found, rest = b"", body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            break
        found, rest = found + rest[:length], rest[length + 2 :]
    return found
