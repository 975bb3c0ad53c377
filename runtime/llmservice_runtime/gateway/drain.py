"""How an engine stops accepting work without aborting requests in flight.

There is one Drain in a process: the gateway reads from it whether to refuse requests and reports each request for work
to it; the plug-in shows its readiness and starts it. It only moves forward: serving, then a lame duck (no longer
ready, but accepting requests of routers that have not noticed it yet), then refusing. The process is stopped only
after that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypedDict


class Report(TypedDict):
    """How a drain went."""

    drained: bool
    """Whether no request was left."""
    active: int
    """Requests that were still being answered at its end."""
    seconds: float


class Drain:
    """The state of one process, used from its event loop alone."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._refuses = False
        self._active = 0
        self._idle = asyncio.Event()
        self._course: asyncio.Task[Report] | None = None
        self._watchers: list[Callable[[], None]] = []

    def watch(self, call: Callable[[], None]) -> None:
        """Has `call` called at each step forward: when it is not ready any more, and when it refuses."""
        self._watchers.append(call)

    @property
    def ready(self) -> bool:
        """Whether routers should send new requests here."""
        return self._course is None

    @property
    def refuses(self) -> bool:
        """Whether new requests for work are refused."""
        return self._refuses

    @property
    def active(self) -> int:
        """Requests for work that are being answered."""
        return self._active

    def enter(self) -> None:
        """A request for work begins."""
        self._active += 1

    def leave(self) -> None:
        """Its answer has ended, in whatever way."""
        self._active -= 1
        if not self._active:
            self._idle.set()

    async def drain(self, lame_duck_seconds: float, drain_seconds: float) -> Report:
        """Returns when no request is left, or `drain_seconds` after the lame duck has ended.

        A second call joins the first one, also after its end; its own arguments count for nothing then.
        """
        if self._course is None:
            self._course = asyncio.create_task(self._run(lame_duck_seconds, drain_seconds))
            self._notify()
        return await asyncio.shield(self._course)

    async def _run(self, lame_duck_seconds: float, drain_seconds: float) -> Report:
        begun = self._now()
        await asyncio.sleep(lame_duck_seconds)
        self._refuses = True
        self._notify()
        try:
            async with asyncio.timeout(drain_seconds):
                while self._active:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass
        return {"drained": not self._active, "active": self._active, "seconds": round(self._now() - begun, 3)}

    def _notify(self) -> None:
        for call in self._watchers:
            call()


_of_process: Drain | None = None


def drain_of_process() -> Drain:
    """The one Drain of this process."""
    global _of_process
    if _of_process is None:
        _of_process = Drain()
    return _of_process
