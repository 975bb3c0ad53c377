"""What all requests together may hold of a replica, and how much of that one key may.

Memory for bodies, places among the requests in flight, and two token buckets for each key: one for bytes of bodies that
were read in vain, one for requests that are no work of the engine. Nothing here waits: there is room, or there is none.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.refusals import Refused, buffers_full, too_many_at_once, too_many_in_all

MOST_KEYS = 10_000
"""Keys of which a bucket's level is remembered; a Secret holds about 9,000."""

KEY_SHARE = 3
"""One key may hold at most a third of the budget, so that two others find room whatever it sends."""


class BodyBudget:
    """Bytes of bodies that are in memory: from their first byte until their request has ended."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._total = 0

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return self._total

    @contextlib.contextmanager
    def open(self, key_id: str, caps: Caps) -> Iterator[Held]:
        """An account for one request. Its bytes are released when the context ends."""
        held = Held(self, key_id, caps)
        try:
            yield held
        finally:
            self._total -= held.size
            self._held[key_id] -= held.size
            if not self._held[key_id]:
                del self._held[key_id]

    def take(self, key_id: str, size: int, caps: Caps) -> None:
        """Raises Refused if there is no room for so many bytes more. One body of bodyBytes always has room."""
        total = max(caps.buffered_bytes, caps.body_bytes)
        share = max(caps.buffered_bytes // KEY_SHARE, caps.body_bytes) if key_id else total
        if self._held[key_id] + size > share:
            raise Refused(buffers_full(share, of_key=bool(key_id)))
        if self._total + size > total:
            raise Refused(buffers_full(total, of_key=False))
        self._total += size
        self._held[key_id] += size


class Held:
    """The part of a BodyBudget that one request uses."""

    __slots__ = ("_budget", "_caps", "_key_id", "size")

    def __init__(self, budget: BodyBudget, key_id: str, caps: Caps) -> None:
        self._budget = budget
        self._key_id = key_id
        self._caps = caps
        self.size = 0
        """Bytes."""

    def add(self, size: int) -> None:
        """Takes more. Raises Refused."""
        self._budget.take(self._key_id, size, self._caps)
        self.size += size


class RequestSlots:
    """Requests in flight, by key and together."""

    def __init__(self) -> None:
        self._of_key: Counter[str] = Counter()
        self._total = 0

    @contextlib.contextmanager
    def take(self, key_id: str, most_of_key: int, most: int) -> Iterator[None]:
        """A place until the end of the context. Requests without a key are bounded together only. Raises Refused."""
        if key_id and self._of_key[key_id] >= most_of_key:
            raise Refused(too_many_at_once(most_of_key))
        if self._total >= most:
            raise Refused(too_many_in_all(most))
        self._of_key[key_id] += 1
        self._total += 1
        try:
            yield
        finally:
            self._total -= 1
            self._of_key[key_id] -= 1
            if not self._of_key[key_id]:
                del self._of_key[key_id]


class Buckets:
    """A token bucket for each key: `capacity` at once, `per_second` in the long run."""

    def __init__(self, capacity: float, per_second: float, now: Callable[[], float]) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._now = now
        self._debts: dict[str, tuple[float, float]] = {}
        """Level of a bucket, and when it was computed."""

    def wait(self, key_id: str) -> float:
        """Seconds until the key may go on; 0 if it may now."""
        excess = self._debt(key_id) - self._capacity
        return max(0.0, excess / self._per_second)

    def take(self, key_id: str, amount: float) -> None:
        """Takes an amount, also if less is left: the key then waits until the bucket is above zero again."""
        debt = self._debt(key_id) + amount
        if len(self._debts) >= MOST_KEYS and key_id not in self._debts:
            self._debts = {key: taken for key, taken in self._debts.items() if self._debt(key)}
        if len(self._debts) < MOST_KEYS or key_id in self._debts:
            # So a key never waits longer than it takes to empty one full bucket.
            self._debts[key_id] = min(debt, 2 * self._capacity), self._now()

    def _debt(self, key_id: str) -> float:
        debt, since = self._debts.get(key_id, (0.0, 0.0))
        return max(0.0, debt - (self._now() - since) * self._per_second) if debt else 0.0
