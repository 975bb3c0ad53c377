"""What one key has done within the last minute.

What is counted within a second lies in one slot, and a slot leaves the window WINDOW_SECONDS after the last addition to
it. So nothing leaves early, and nothing stays more than a second too long. window.lua keeps the same books in a store;
one set of tests holds for both.
"""

from __future__ import annotations

from collections import deque

from llmservice_runtime.front.limits.limiter import SLOT_SECONDS, WINDOW_SECONDS, Kind


class _Slot:
    __slots__ = ("began", "ended", "requests", "tokens")

    def __init__(self, now: float) -> None:
        self.began = now
        self.ended = now
        self.requests = 0
        self.tokens = 0


class Window:
    """The slots of one key, numbered one after another, and their sums."""

    __slots__ = ("_first", "_slots", "requests", "tokens")

    def __init__(self, first: int) -> None:
        self.requests = 0
        self.tokens = 0
        self._slots: deque[_Slot] = deque()
        self._first = first
        """The number of the oldest slot."""

    def is_empty(self, now: float) -> bool:
        """Whether nothing in it counts any more."""
        return not self._slots or self._slots[-1].ended + WINDOW_SECONDS <= now

    def forget(self, now: float) -> None:
        """Drops the slots that have left the window."""
        slots = self._slots
        while slots and slots[0].ended + WINDOW_SECONDS <= now:
            gone = slots.popleft()
            self.requests -= gone.requests
            self.tokens -= gone.tokens
            self._first += 1

    def add(self, now: float, requests: int, tokens: int) -> int:
        """Counts these and returns the number of their slot."""
        slots = self._slots
        if not slots or now >= slots[-1].began + SLOT_SECONDS:
            slots.append(_Slot(now))
        newest = slots[-1]
        newest.ended = now
        newest.requests += requests
        newest.tokens += tokens
        self.requests += requests
        self.tokens += tokens
        return self._first + len(slots) - 1

    def correct(self, number: int, tokens: int) -> None:
        """Adds tokens to a slot, or takes them back if negative; nothing happens once the slot has gone."""
        index = number - self._first
        if 0 <= index < len(self._slots):
            self._slots[index].tokens += tokens
            self.tokens += tokens

    def reset(self, now: float, kind: Kind) -> float:
        """Seconds until nothing of this kind is counted any more."""
        for slot in reversed(self._slots):
            if getattr(slot, kind):
                return slot.ended + WINDOW_SECONDS - now
        return 0.0

    def wait(self, now: float, kind: Kind, excess: int) -> float:
        """Seconds until as many as `excess` have left."""
        if excess <= 0:
            return 0.0
        for slot in self._slots:
            excess -= getattr(slot, kind)
            if excess <= 0:
                return slot.ended + WINDOW_SECONDS - now
        return float(WINDOW_SECONDS)
