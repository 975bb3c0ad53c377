"""Frees what failed requests leave in memory.

The exception with which vLLM refuses a request refers to itself: by its traceback to a frame, and from there to the
task that has failed with it. So it stays until Python looks for cycles, and with it all that vLLM has made of the body,
ten times the body's size. Python looks rarely, because texts and messages do not count for it: 54 MiB stayed of 87
refused chats with 2,000 messages each. vLLM has excluded what it loaded at its start from this search (`gc.freeze`), so
a search takes milliseconds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter

COLLECT_BYTES = 512 * 1024
"""After bodies of failed requests with so many bytes a search begins."""
PAUSE = 50
"""A search is followed by a pause so many times as long as it took."""


class Garbage:
    """Bodies of failed requests since the last search."""

    def __init__(self, collect: Callable[[], object] = gc.collect, now: Callable[[], float] = perf_counter) -> None:
        self._collect = collect
        self._now = now
        self._bytes = 0
        self._not_before = 0.0

    def add(self, size: int) -> None:
        """A request with a body of this size has failed; searches if it is time to."""
        self._bytes += size
        begun = self._now()
        if self._bytes < COLLECT_BYTES or begun < self._not_before:
            return
        self._bytes = 0
        self._collect()
        ended = self._now()
        self._not_before = ended + PAUSE * (ended - begun)
