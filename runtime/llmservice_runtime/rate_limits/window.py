"""The usage of one key within the last minute, and its debts.

Usage within one second is in one slot, and a slot leaves the window WINDOW_SECONDS after the last addition to it. So
usage never leaves early, and never stays more than a second too long.

Tokens beyond the limit are debts. A debt counts from now on, but with the time at which the window will have room for
it: it leaves WINDOW_SECONDS after that. So each minute pays for at most one limit of tokens. window.lua does the same
in a store; the same tests check both.
"""

from __future__ import annotations

import heapq
from collections import deque

from llmservice_runtime.rate_limits.limiter import MOST_DEBT_SECONDS, MOST_PARTS, SLOT_SECONDS, WINDOW_SECONDS, Kind


class _Slot:
    __slots__ = ("began", "ended", "requests", "tokens")

    def __init__(self, now: float) -> None:
        self.began = now
        self.ended = now
        self.requests = 0
        self.tokens = 0


class Window:
    """The slots of one key, numbered one after another, and their sums."""

    __slots__ = ("_debts", "_first", "_slots", "requests", "tokens")

    def __init__(self, first: int) -> None:
        self.requests = 0
        self.tokens = 0
        self._slots: deque[_Slot] = deque()
        self._debts: deque[_Slot] = deque()
        """In the order of their times, which may be in the future."""
        self._first = first
        """The number of the oldest slot."""

    def is_empty(self, now: float) -> bool:
        """Whether the window is empty."""
        return all(not part or part[-1].ended + WINDOW_SECONDS <= now for part in (self._slots, self._debts))

    def forget(self, now: float) -> None:
        """Drops what has left the window."""
        slots, debts = self._slots, self._debts
        while slots and slots[0].ended + WINDOW_SECONDS <= now:
            gone = slots.popleft()
            self.requests -= gone.requests
            self.tokens -= gone.tokens
            self._first += 1
        while debts and debts[0].ended + WINDOW_SECONDS <= now:
            self.tokens -= debts.popleft().tokens

    def add(self, now: float, requests: int, tokens: int) -> int:
        """Adds usage and returns the number of its slot."""
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

    def charge(self, now: float, number: int, taken: int, used: int, held: int, limit: int | None) -> int:
        """Removes a reservation from its slot, counts used tokens and reserves the rest; returns the new slot.

        Tokens within the reservation count at the current time. So do tokens beyond it, up to the limit; the rest is a
        debt.
        """
        index = number - self._first
        if 0 <= index < len(self._slots):
            taken = min(taken, self._slots[index].tokens)
            self._slots[index].tokens -= taken
            self.tokens -= taken
        else:
            taken = 0
        at_once = used if limit is None else min(used, max(0, taken - held))
        if limit is not None:
            at_once += min(used - at_once, max(0, limit - self.tokens - at_once - held))
        if at_once or held:
            number = self.add(now, 0, at_once + held)
        if limit is not None:
            self._owe(now, used - at_once, limit)
        return number

    def reset(self, now: float, kind: Kind) -> float:
        """Seconds until the window has nothing of this kind."""
        left = now - WINDOW_SECONDS
        for part in (self._slots, self._debts):
            left = max(left, next((slot.ended for slot in reversed(part) if getattr(slot, kind)), left))
        return left + WINDOW_SECONDS - now

    def wait(self, now: float, kind: Kind, room: int) -> float:
        """Seconds until at most `room` is counted."""
        if getattr(self, kind) <= room:
            return 0.0
        slots, debts = reversed(self._slots), reversed(self._debts)
        for latest in heapq.merge(slots, debts, key=lambda slot: slot.ended, reverse=True):
            room -= getattr(latest, kind)
            if room < 0:
                return latest.ended + WINDOW_SECONDS - now
        return 0.0

    def _owe(self, now: float, tokens: int, limit: int) -> None:
        """Counts tokens beyond the limit, each part with the time at which there is room for it."""
        for left in range(MOST_PARTS, 0, -1):
            if tokens <= 0:
                return
            part = tokens if left == 1 else min(tokens, limit)
            at = now + min(self.wait(now, "tokens", limit - part), MOST_DEBT_SECONDS)
            debts = self._debts
            if debts:
                at = max(at, debts[-1].ended)
            if not debts or at >= debts[-1].began + SLOT_SECONDS:
                debts.append(_Slot(at))
            debts[-1].ended = at
            debts[-1].tokens += part
            self.tokens += part
            tokens -= part
