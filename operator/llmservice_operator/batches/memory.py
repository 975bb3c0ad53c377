"""Bytes that lines and answers take of the process's memory: bounded for one owner and for all.

A line may be large and stay in work for an hour, and an answer may be larger still. Without a bound, the lines of one
key would end the process, at each of its starts again.
"""

from __future__ import annotations

from collections import Counter

from llmservice_operator.batches.model import Owner


class Memory:
    """What is taken of one bound. Sizes are bytes."""

    def __init__(self, most: int, most_of_owner: int, free: int) -> None:
        """``free``: what is so small is always taken."""
        self._most, self._most_of_owner, self._free = most, most_of_owner, free
        self._taken: Counter[Owner] = Counter()
        self.total = 0

    def take(self, owner: Owner, size: int, before: int = 0) -> bool:
        """Takes so much more for something that has taken ``before``. False if that would be too much; then nothing is
        taken."""
        is_small = before + size <= self._free
        fits = self.total + size <= self._most and self._taken[owner] + size <= self._most_of_owner
        if not (is_small or fits):
            return False
        self._taken[owner] += size
        self.total += size
        return True

    def give_back(self, owner: Owner, size: int) -> None:
        """Takes no longer what was taken."""
        self.total -= size
        self._taken[owner] -= size
        if not self._taken[owner]:
            del self._taken[owner]
