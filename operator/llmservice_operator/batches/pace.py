"""How many lines of one model may be in work: more while replicas accept them, half as many as soon as one refuses."""

from __future__ import annotations

PAUSE_SECONDS = 1.0
"""After a refusal without a time; doubles with each further one."""
LONGEST_PAUSE = 30.0


class Pace:
    """The bound for one model. Additive increase, multiplicative decrease (Chiu and Jain, 1989)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = 1.0
        self._pause = PAUSE_SECONDS
        self._until = 0.0
        self._cut_at: float | None = None
        """When it was halved last. Until the first time it doubles with each round of answers."""
        self.in_work = 0
        """Lines that were sent and have no answer."""

    @property
    def limit(self) -> int:
        """Lines that may be in work."""
        return int(self._limit)

    @property
    def resumes_at(self) -> float:
        """Before this time nothing is sent."""
        return self._until

    def may_send(self, now: float) -> bool:
        """Whether one more line may be sent."""
        return now >= self._until and self.in_work < self.limit

    def answered(self) -> None:
        """A replica has answered a line."""
        self._pause = PAUSE_SECONDS
        step = 1.0 if self._cut_at is None else 1 / self.limit
        self._limit = min(self._most, self._limit + step)

    def refused(self, now: float, retry_after: float | None, sent_at: float) -> None:
        """A line that was sent at this time was refused. Refusals of lines that were sent before the last one counted
        are the same news."""
        if self._cut_at is not None and sent_at <= self._cut_at:
            return
        self._cut_at = now
        self._limit = max(1.0, self._limit / 2)
        if retry_after is None:
            wait, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        else:
            wait = min(max(retry_after, 0.05), LONGEST_PAUSE)
        self._until = now + wait
