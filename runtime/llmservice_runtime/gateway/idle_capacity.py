"""Requests that use idle capacity alone: those with the header `X-Request-Class: batch`.

They wait before their bodies are read, until the engine has room that no other request needs:

- While no other request has been in work for QUIET_SECONDS, one more is let in if fewer than AT_ONCE of them have no
  first token. So the engine itself says when it is full: at most AT_ONCE of them are in its queue.
- While others are in work, one is let in only if each of these has its first token, if fewer than BESIDE of its class
  are in work, and if the last one's first token is SPACING times as long ago as it took. So prompts of batches occupy
  the engine for one part in SPACING + 1 of the time at most.
- When another request comes after a quiet time, the youngest of the class beyond BESIDE are ended at once. The oldest
  stay, so that all come to an end if they are sent again.

A request without the header never waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

from llmservice_runtime.gateway.asgi import Headers, values_of

AT_ONCE = 4
BESIDE = 4
SPACING = 9.0
LONGEST_SPACE = 30.0
QUIET_SECONDS = 5.0
WAIT_SECONDS = 5.0
"""How long one waits before it is refused."""
MOST_WAITING = 256
CHECK_SECONDS = 0.01
ARRIVAL_SECONDS = 2.0
"""After so long without having reached the engine, one that was let in keeps no place: its client is slow."""
CLASS = b"x-request-class"
BATCH = b"batch"


def is_of_a_batch(headers: Headers) -> bool:
    """Whether a request uses idle capacity alone."""
    return [each.strip().lower() for each in values_of(headers, CLASS)] == [BATCH]


class Progress(Protocol):
    """What the engine has made of a request."""

    @property
    def has_begun(self) -> bool:
        """Whether it has a token of its answer."""

    @property
    def first_token_seconds(self) -> float | None:
        """How long that took; None if it is not known."""


class Visit:
    """A request in work."""

    __slots__ = ("begun", "displace", "progress", "seen")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.progress: Progress | None = None
        """None until the engine gets it."""
        self.displace: Callable[[], None] | None = None
        """Ends it, because others need the engine."""
        self.seen = False
        """Whether its first token, or its end, was seen."""


class IdleCapacity:
    """Requests in work, and whether one of a batch may be."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._others: dict[Visit, None] = {}
        self._batch: dict[Visit, None] = {}
        """The oldest first."""
        self._quiet_from = -QUIET_SECONDS
        """When the last other request ended."""
        self._next_beside = 0.0
        self._waiting: OrderedDict[asyncio.Future[Visit], None] = OrderedDict()
        self._is_checking = False

    @property
    def is_quiet(self) -> bool:
        """Whether no other request has been in work for a while."""
        return not self._others and self._now() - self._quiet_from >= QUIET_SECONDS

    @contextlib.contextmanager
    def other(self) -> Iterator[Visit]:
        """A request without the header is in work."""
        if self.is_quiet:
            for each in list(self._batch)[BESIDE:]:
                if each.displace is not None:
                    each.displace()
        visit = Visit(self._now())
        self._others[visit] = None
        try:
            yield visit
        finally:
            del self._others[visit]
            self._quiet_from = self._now()

    @contextlib.asynccontextmanager
    async def of_a_batch(self) -> AsyncIterator[Visit | None]:
        """One with the header waits, and is in work then; None if it is refused."""
        visit = await self._enter()
        try:
            yield visit
        finally:
            if visit is not None:
                self._see(visit)
                del self._batch[visit]

    async def _enter(self) -> Visit | None:
        if not self._waiting and self._has_room():
            return self._let_in()
        if len(self._waiting) >= MOST_WAITING:
            return None
        turn: asyncio.Future[Visit] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        self._check_later()
        visit = None
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                visit = await asyncio.shield(turn)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(turn, None)
            if visit is None and turn.done():
                # It was let in at the moment at which its client or its time ended.
                del self._batch[turn.result()]
        return visit

    def _let_in(self) -> Visit:
        visit = Visit(self._now())
        self._batch[visit] = None
        return visit

    def _check_later(self) -> None:
        if self._waiting and not self._is_checking:
            self._is_checking = True
            asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        """Lets in what there is room for, the oldest first."""
        self._is_checking = False
        while self._waiting and self._has_room():
            turn, _ = self._waiting.popitem(last=False)
            turn.set_result(self._let_in())
        self._check_later()

    def _has_room(self) -> bool:
        for each in self._batch:
            if not each.seen and _has_begun(each):
                self._see(each)
        coming = sum(not each.seen and not self._is_late(each) for each in self._batch)
        if self.is_quiet:
            return coming < AT_ONCE
        if coming or len(self._batch) >= BESIDE or self._now() < self._next_beside:
            return False
        return all(_has_begun(each) for each in self._others)

    def _see(self, visit: Visit) -> None:
        """Its first token, or its end, is there."""
        if visit.seen:
            return
        visit.seen = True
        took = visit.progress.first_token_seconds if visit.progress is not None else None
        now = self._now()
        space = min(LONGEST_SPACE, SPACING * (now - visit.begun if took is None else took))
        self._next_beside = max(self._next_beside, now + space)

    def _is_late(self, visit: Visit) -> bool:
        return visit.progress is None and self._now() - visit.begun > ARRIVAL_SECONDS


def _has_begun(visit: Visit) -> bool:
    return visit.progress is not None and visit.progress.has_begun
