"""Large bodies are parsed one after the other, each key's in turn, with a pause after each.

To parse 8 MiB of JSON takes tens of milliseconds of the event loop that serves every other client, once here and once
in the application. Each time a large body waits for its turn. A turn ends when the body has been parsed, and the next
one begins only after a pause as long as it took: at least half of the event loop's time is left for all else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

LARGE_BYTES = 256 * 1024
"""Smaller bodies never wait."""
APPLICATION_SECONDS = 0.25
"""After which a turn of the application ends in any case. It is not known that it has parsed a body; it may do other
things before. While it parses, no time limit can be noticed, so a turn is never cut short in the middle of that."""
MOST_PAUSE_SECONDS = 1.0


class ParseQueue:
    """Who may parse a large body now, and who waits."""

    def __init__(self) -> None:
        self._taken = False
        """Or just over, during the pause."""
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By key; the first key is the next."""

    async def take(self, key_id: str) -> Turn:
        """Waits for those of other keys that are before it, one of each key, and for all of its own key's."""
        if self._taken:
            ready = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(key_id, deque()).append(ready)
            try:
                await ready
            except asyncio.CancelledError:
                if not ready.cancelled():
                    self._next()
                raise
        self._taken = True
        return Turn(self)

    def end(self, seconds: float) -> None:
        """A turn that took so long is over."""
        asyncio.get_running_loop().call_later(min(seconds, MOST_PAUSE_SECONDS), self._next)

    def _next(self) -> None:
        while self._waiting:
            key_id, waiting = next(iter(self._waiting.items()))
            ready = waiting.popleft()
            del self._waiting[key_id]
            if waiting:
                self._waiting[key_id] = waiting
            if not ready.cancelled():
                ready.set_result(None)
                return
        self._taken = False


class Turn:
    """One body's turn; as a context manager it ends with the context."""

    __slots__ = ("_begun", "_limit", "_loop", "_turns")

    def __init__(self, turns: ParseQueue) -> None:
        self._turns: ParseQueue | None = turns
        self._limit: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()

    def end_within(self, seconds: float) -> None:
        """Ends it after this time, if nothing else has."""
        self._limit = self._loop.call_later(seconds, self.end)

    def end(self) -> None:
        """Ends it, if it has not ended."""
        if self._limit is not None:
            self._limit.cancel()
        if self._turns is not None:
            self._turns.end(self._loop.time() - self._begun)
            self._turns = None

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end()
