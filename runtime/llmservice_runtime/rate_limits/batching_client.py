"""Sends calls to the store in batches, and never makes a request wait for an unavailable store.

While one batch is in flight, further calls are collected for the next one, so one round trip serves all of them. A
batch has BATCH_SECONDS. If it fails, all waiting calls fail, and later calls fail at once, without any I/O. One second
after a failure the next call sends a probe to the store, and does not wait for its answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from llmservice_runtime.rate_limits.limiter import StoreUnavailable
from llmservice_runtime.rate_limits.script import Call, look

BATCH_SECONDS = 0.25
GRACE_SECONDS = 0.01
"""For an answer that is already in the socket while the event loop is late."""
PAUSE_SECONDS = 1.0
LOOK_SECONDS = 2.0
"""Time limit of the probe: no request waits for it, and it may have to connect."""
BATCH_CALLS = 256
MOST_WAITING = 20_000
"""Maximum number of waiting calls."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Client(Protocol):
    """Runs the script: see StoreClient."""

    async def resolve(self) -> None: ...

    async def run(self, calls: Sequence[Call]) -> list[Any]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _PendingCall:
    call: Call
    answer: asyncio.Future[list[int]] | None = None
    undo: Callable[[list[int]], Call | None] | None = None
    then: Callable[[list[int] | None], None] | None = None


class BatchingStoreClient:
    """Sends calls to one store, one batch at a time."""

    def __init__(
        self,
        client: Client,
        where: str,
        clock: Callable[[], float] = time.monotonic,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        self._client = client
        self._where = where
        self._clock = clock
        self._batch_seconds = batch_seconds
        self._waiting: deque[_PendingCall] = deque()
        self._carrying: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._fault: str | None = None
        self._look_at = 0.0

    async def ask(self, call: Call, undo: Callable[[list[int]], Call | None]) -> list[int]:
        """The reply. Raises StoreUnavailable.

        If the caller is cancelled before the reply arrives, `undo` makes a call from the reply, which is sent.
        """
        if self._fault is not None:
            self._look_again(call)
            raise StoreUnavailable(self._fault)
        if len(self._waiting) >= MOST_WAITING:
            raise StoreUnavailable(f"{len(self._waiting)} calls wait for it already")
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._take(_PendingCall(call, answer, undo))
        return await answer

    def tell(self, call: Call, then: Callable[[list[int] | None], None] | None = None) -> None:
        """Sends a call that no request waits for; does nothing while the store is unavailable.

        `then` gets the reply, or None if there is none.
        """
        errand = _PendingCall(call, then=then)
        if self._fault is None and len(self._waiting) < MOST_WAITING:
            self._take(errand)
        else:
            self._refuse([errand])

    async def aclose(self) -> None:
        """Cancels all calls and closes the connections."""
        self._fault = "it is no longer in use"
        self._look_at = math.inf
        self._refuse(self._take_all())
        tasks = [task for task in (self._carrying, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    def _take(self, errand: _PendingCall) -> None:
        self._waiting.append(errand)
        if self._carrying is None:
            self._carrying = asyncio.get_running_loop().create_task(self._carry())

    def _take_all(self, most: int | None = None) -> list[_PendingCall]:
        """Takes the waiting calls that were not cancelled."""
        count = len(self._waiting) if most is None else min(most, len(self._waiting))
        taken = [self._waiting.popleft() for _ in range(count)]
        return [errand for errand in taken if errand.answer is None or not errand.answer.done()]

    async def _carry(self) -> None:
        batch: list[_PendingCall] = []
        try:
            while self._waiting:
                batch = self._take_all(BATCH_CALLS)
                if batch:
                    replies = await within(self._batch_seconds, self._client.run([errand.call for errand in batch]))
                    self._deliver(batch, replies)
        except Exception as error:
            self._fail([*batch, *self._take_all()], reason(error))
        except asyncio.CancelledError:
            self._refuse(batch)
            raise
        finally:
            self._carrying = None

    def _deliver(self, batch: Sequence[_PendingCall], replies: Sequence[Any]) -> None:
        for errand, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Exception):
                self._fail([errand], reason(reply))
            elif errand.then is not None:
                errand.then(reply)
            elif errand.answer is not None and not errand.answer.done():
                errand.answer.set_result(reply)
            elif errand.undo is not None and (call := errand.undo(reply)):
                self.tell(call)

    def _fail(self, errands: Sequence[_PendingCall], fault: str) -> None:
        if self._fault is None:
            logger.warning("The store of the rate limits at %s fails: %s.", self._where, fault)
        self._fault = fault
        self._look_at = self._clock() + PAUSE_SECONDS
        self._refuse(errands)

    def _refuse(self, errands: Sequence[_PendingCall]) -> None:
        for errand in errands:
            if errand.then is not None:
                errand.then(None)
            elif errand.answer is not None and not errand.answer.done():
                errand.answer.set_exception(StoreUnavailable(self._fault))

    def _look_again(self, call: Call) -> None:
        if self._looking is None and self._clock() >= self._look_at:
            self._looking = asyncio.get_running_loop().create_task(self._look(look(call.key)))

    async def _look(self, call: Call) -> None:
        try:
            # A DNS lookup that hangs blocks a thread until its time-out, so there is one lookup at a time.
            await self._client.resolve()
            await within(LOOK_SECONDS, self._client.aclose())
            [reply] = await within(LOOK_SECONDS, self._client.run([call]))
            if isinstance(reply, Exception):
                raise reply
        except Exception as error:
            self._fail([], reason(error))
        else:
            self._fault = None
            logger.info("The store of the rate limits at %s is back.", self._where)
        finally:
            self._looking = None


def reason(error: Exception) -> str:
    """Why the store failed, in one line."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`. Raises TimeoutError if it takes longer, but not if only the event loop was late."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(seconds, lambda: limit.reschedule(loop.time() + GRACE_SECONDS))
        try:
            return await work
        finally:
            timer.cancel()
