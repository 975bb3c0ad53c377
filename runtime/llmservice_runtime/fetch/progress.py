"""How far a fetch is: bytes, speed over the last half minute, and time left."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW_SECONDS = 30.0


@dataclass(slots=True)
class Progress:
    """Counts bytes as they are written to the disk."""

    total: int = 0
    """Bytes of the model."""
    done: int = 0
    """Bytes on the disk, with those of earlier attempts."""
    fetched: int = 0
    """Bytes that this attempt received."""
    clock: Callable[[], float] = time.monotonic
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, count: int) -> None:
        self.done += count
        self.fetched += count
        now = self.clock()
        self._marks.append((now, self.fetched))
        while len(self._marks) > 2 and self._marks[0][0] < now - WINDOW_SECONDS:
            self._marks.popleft()

    @property
    def bytes_per_second(self) -> int:
        """0 if it is unknown, or if nothing arrives."""
        if len(self._marks) < 2:
            return 0
        began, first = self._marks[0]
        seconds = self.clock() - began
        return int((self.fetched - first) / seconds) if seconds > 0 else 0

    @property
    def seconds_left(self) -> int | None:
        """None if it is unknown."""
        speed = self.bytes_per_second
        return math.ceil((self.total - self.done) / speed) if speed else None

    def __str__(self) -> str:
        left = f", {self.seconds_left} s left" if self.seconds_left is not None else ""
        return f"{self.done} of {self.total} bytes, {self.bytes_per_second / 1e6:.1f} MB/s{left}"
