"""Connections that are not authenticated yet: their time and their number are limited.

If there are too many, the one that has been silent for longest is closed, so silent connections never block a rank.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

PLACES = 64
SECONDS = 5.0


class PendingConnections:
    """The connections of one port that have not sent their first message."""

    def __init__(self) -> None:
        self._waiting: dict[StreamWriter, None] = {}

    async def first(self, reader: StreamReader, writer: StreamWriter, end: bytes) -> bytes | None:
        """The first message of a connection, up to `end`; None if it is too long or does not arrive in time."""
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
