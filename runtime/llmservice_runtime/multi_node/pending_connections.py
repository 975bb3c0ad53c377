"""Connections that have not proved who they are: each has a short time, and there are never many of them.

If there are too many, the one that has been silent for longest is closed, so silent connections keep no rank out.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

PLACES = 64
SECONDS = 5.0


class PendingConnections:
    """The connections of one port that have not said yet what they want."""

    def __init__(self) -> None:
        self._waiting: dict[StreamWriter, None] = {}

    async def first(self, reader: StreamReader, writer: StreamWriter, end: bytes) -> bytes | None:
        """What a connection says first, up to `end`; None if it is too long, comes too late or does not come."""
        if len(self._waiting) >= PLACES:
            next(iter(self._waiting)).transport.abort()
        self._waiting[writer] = None
        try:
            async with asyncio.timeout(SECONDS):
                return await reader.readuntil(end)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            return None
        finally:
            del self._waiting[writer]
