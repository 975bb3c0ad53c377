"""A cache of results in which concurrent requests for the same key share one computation.

It keeps the operator from asking the API server the same question in every request, or twice at the same time.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Busy(Exception):
    """Too many computations are in progress."""


class SingleFlight(Generic[K, V]):
    """At most ``limit`` results by key, and ``at_once`` computations. Errors are not cached."""

    def __init__(self, limit: int, *, at_once: int | None = None, size: Callable[[V], int] = lambda _: 1) -> None:
        """``size`` is the weight of a result. A result above ``limit`` is not cached."""
        self._at_once = at_once
        self._answers: LRUCache[K, tuple[float, V]] = LRUCache(limit, lambda kept: size(kept[1]))
        """With the loop's time at which each was computed."""
        self._asked: dict[K, asyncio.Task[V]] = {}

    def last(self, key: K) -> V | None:
        """The last result, at any age; None if there is none."""
        found = self._answers.get(key)
        return None if found is None else found[1]

    async def get(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]], seconds: Callable[[V], float]) -> V:
        """The last result if it is at most as old as ``seconds`` of it, otherwise a new one from ``ask``. Raises the
        exceptions of ``ask``, and Busy."""
        found = self._answers.get(key)
        if found is not None and asyncio.get_running_loop().time() - found[0] < seconds(found[1]):
            return found[1]
        task = self._asked.get(key)
        if task is None:
            if self._at_once is not None and len(self._asked) >= self._at_once:
                raise Busy
            task = self._asked[key] = asyncio.create_task(self._fetch(key, ask))
            task.add_done_callback(lambda done: self._end(key, done))
        # If one waiting caller is cancelled, the others still get the result.
        return await asyncio.shield(task)

    async def _fetch(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        value = await ask()
        self._answers[key] = (asyncio.get_running_loop().time(), value)
        return value

    def _end(self, key: K, task: asyncio.Task[V]) -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # mark it as retrieved: an error without a waiting caller is not logged
