"""Answers that are kept for a while, so that the API server isn't asked the same in every request.

A key is asked about once at a time, however many wait for the answer. Errors are not kept.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Busy(Exception):
    """Too many questions wait for their answers."""


class Remembered(Generic[K, V]):
    """Answers, each kept for what ``seconds`` says of it; at most ``limit`` of them, and ``at_once`` open questions."""

    def __init__(
        self,
        seconds: Callable[[V], float],
        *,
        limit: int = 4096,
        at_once: int = 16,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._limit = limit
        self._at_once = at_once
        self._now = now
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._asked: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The answer for ``key``, by ``ask`` where none is kept. Raises what that raises, and Busy."""
        kept = self._kept.get(key)
        if kept is not None and self._now() < kept[0]:
            return kept[1]
        task = self._asked.get(key)
        if task is None:
            if len(self._asked) >= self._at_once:
                raise Busy
            task = self._asked[key] = asyncio.create_task(self._fetch(key, ask))
            task.add_done_callback(lambda _: self._asked.pop(key))
        # Others may wait for the same answer.
        return await asyncio.shield(task)

    async def _fetch(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        value = await ask()
        self._kept.pop(key, None)
        self._kept[key] = (self._now() + self._seconds(value), value)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return value
