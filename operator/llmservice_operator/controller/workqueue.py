"""The work queue: which service is reconciled next.

Invariants: no key is processed twice at the same time; a key that is added while it is processed is processed again
afterwards; several additions of a waiting key count as one. Namespaces take turns, so a key waits for at most one key
of each other namespace, and for earlier keys of its own. The backoff of a failing key grows with each retry. An event
for it causes an earlier attempt and does not extend the backoff.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF = 1.0
"""First delay after a failure, in seconds."""
LONGEST_BACKOFF = 300.0
"""Maximum delay between retries, in seconds."""

logger = logging.getLogger(__name__)


class WorkQueue(Generic[K]):
    """Runs ``work(key)`` for every added key. ``work`` returns the seconds until the key's next turn, or None.

    Times are those of the event loop.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        *,
        workers: int,
        jitter: Callable[[], float] = random.random,
        on_depth: Callable[[int], None] = lambda depth: None,
    ) -> None:
        self._work = work
        self._workers = workers
        self._jitter = jitter
        self._on_depth = on_depth
        self._ready: dict[Hashable, deque[K]] = {}
        """Waiting keys by namespace, both in the order of their turns."""
        self._waiting: set[K] = set()
        self._again: set[K] = set()
        self._since: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._timers: dict[K, tuple[float, asyncio.Handle]] = {}
        """When each timer is due, on the loop's clock."""
        self._repeated: set[K] = set()
        self._logged_failures: dict[K, str] = {}
        self._stopping = False
        self._free: deque[asyncio.Future[None]] = deque()

    def add(self, key: K) -> None:
        """Processes ``key`` as soon as a worker is free."""
        if self._stopping:
            return
        self._cancel_timer(key)
        if key in self._since:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.setdefault(_namespace(key), deque()).append(key)
            self._on_depth(len(self._waiting))
            self._wake_one()

    def add_after(self, key: K, seconds: float) -> None:
        """Processes ``key`` after ``seconds``, or earlier if it is added again."""
        if self._stopping or key in self._waiting or key in self._again:
            return
        self._set_timer(key, seconds, self.add)

    async def run(self) -> None:
        """Works until ``stop``. Errors of ``work`` do not end it."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._worker(), name=f"worker {number}")

    def stop(self) -> None:
        """Starts nothing more; ``run`` returns when the work in progress has ended."""
        self._stopping = True
        for key in list(self._timers):
            self._cancel_timer(key)
        while self._free:
            self._wake_one()

    def longest_running(self) -> float:
        """Seconds since the oldest work in progress began; 0 if there is none."""
        if not self._since:
            return 0.0
        return asyncio.get_running_loop().time() - min(self._since.values())

    async def _worker(self) -> None:
        while (key := await self._next()) is not None:
            self._since[key] = asyncio.get_running_loop().time()
            repeated = key in self._repeated
            self._repeated.discard(key)
            delay: float | None = None
            try:
                delay = await self._work(key)
                self._failures.pop(key, None)
                self._logged_failures.pop(key, None)
            except Exception as error:
                delay = max(self._backoff(key, repeated), getattr(error, "retry_after", None) or 0.0)
                self._log_failure(key, delay, error)
            finally:
                del self._since[key]
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None and not self._stopping:
                self._set_timer(key, delay, self._repeat if key in self._failures else self.add)

    async def _next(self) -> K | None:
        while not self._ready and not self._stopping:
            free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._free.append(free)
            await free
        if self._stopping:
            return None
        namespace = next(iter(self._ready))
        keys = self._ready.pop(namespace)
        key = keys.popleft()
        if keys:  # the next turn belongs to another namespace
            self._ready[namespace] = keys
        self._waiting.discard(key)
        self._on_depth(len(self._waiting))
        return key

    def _wake_one(self) -> None:
        while self._free:
            free = self._free.popleft()
            if not free.done():
                free.set_result(None)
                return

    def _log_failure(self, key: K, delay: float, error: Exception) -> None:
        """Logs a failure. Repetitions of the same failure of a key are logged at level DEBUG."""
        text = f"{type(error).__name__}: {error}"
        level = logging.DEBUG if self._logged_failures.get(key) == text else logging.WARNING
        self._logged_failures[key] = text
        name = "/".join(key) if isinstance(key, tuple) else str(key)
        logger.log(
            level,
            "%s: reconciliation failed, retrying in %.0f s: %s",
            name,
            delay,
            text,
            exc_info=level == logging.DEBUG,
        )

    def _repeat(self, key: K) -> None:
        self._repeated.add(key)
        self.add(key)

    def _backoff(self, key: K, repeated: bool) -> float:
        """Only a failed retry increases the backoff, because events may come at any rate."""
        failures = self._failures.get(key, -1)
        if failures < 0 or repeated:
            failures += 1
        self._failures[key] = failures
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 30))
        return float(longest * (0.5 + 0.5 * self._jitter()))

    def _set_timer(self, key: K, seconds: float, then: Callable[[K], None]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if key not in self._timers or self._timers[key][0] > due:
            self._cancel_timer(key)
            self._timers[key] = due, loop.call_later(seconds, then, key)

    def _cancel_timer(self, key: K) -> None:
        _, timer = self._timers.pop(key, (0.0, None))
        if timer is not None:
            timer.cancel()


def _namespace(key: Hashable) -> Hashable:
    """The namespace of a key; namespaces share the workers fairly."""
    return key[0] if isinstance(key, tuple) else None
