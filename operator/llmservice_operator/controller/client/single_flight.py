"""Answers that are kept for a while, each asked for once at a time, however many wait for it.

The API server is asked neither the same in every request, nor the same twice at one time.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Busy(Exception):
    """Too many questions wait for their answers."""


class SingleFlight(Generic[K, V]):
    """At most ``limit`` answers by key, and ``at_once`` open questions. Errors are not kept."""

    def __init__(self, limit: int, *, at_once: int | None = None, size: Callable[[V], int] = lambda _: 1) -> None:
        """``size``: as how many an answer counts; one above ``limit`` can't be kept."""
        self._at_once = at_once
        self._answers: LRUCache[K, tuple[float, V]] = LRUCache(limit, lambda kept: size(kept[1]))
        """With the loop's time at which each came."""
        self._asked: dict[K, asyncio.Task[V]] = {}

    def last(self, key: K) -> V | None:
        """The last answer, however old; None if there is none."""
        found = self._answers.get(key)
        return None if found is None else found[1]

    async def get(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]], seconds: Callable[[V], float]) -> V:
        """The last answer if it is not older than ``seconds`` says of it, else a new one by ``ask``. Raises what that
        raises, and Busy."""
        found = self._answers.get(key)
        if found is not None and asyncio.get_running_loop().time() - found[0] < seconds(found[1]):
            return found[1]
        task = self._asked.get(key)
        if task is None:
            if self._at_once is not None and len(self._asked) >= self._at_once:
                raise Busy
            task = self._asked[key] = asyncio.create_task(self._fetch(key, ask))
            task.add_done_callback(lambda done: self._end(key, done))
        # If one who waits is cancelled, the others still get the answer.
        return await asyncio.shield(task)

    async def _fetch(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        value = await ask()
        self._answers[key] = (asyncio.get_running_loop().time(), value)
        return value

    def _end(self, key: K, task: asyncio.Task[V]) -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # that nobody waits for it any more is no fault
