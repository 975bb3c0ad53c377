"""Decides from evidence whether the engine works: what arrives from the engine core, not what its HTTP server answers.

vLLM's /health is 200 as long as the process of the engine core exists, although it may be stopped, deadlocked or
waiting for a GPU for ever. Evidence is of two kinds. An *answer* is any message of the engine core. A *step* is a
message that shows computing: tokens or results of a request, or statistics with running requests, which arrive after
each part of a long prompt too. If requests or a probe wait, and

- no answer arrives: the engine is not ready after NOT_READY_SECONDS and hangs after QUIET_SECONDS if its processes
  compute nothing meanwhile, otherwise after BUSY_NOT_READY_SECONDS and after the time that one step may take;
- answers arrive, but no step although requests wait: it is not ready after STALLED_SECONDS, and hangs after the time
  of a step more.

Time is counted in ticks of the event loop that receives the messages, and a late tick counts as MOST_TICK_SECONDS at
most: neither a busy event loop nor a frozen container is taken for a hang. Without waiting requests the engine core is
asked every ASK_SECONDS whether it sleeps, and generates one token every PROBE_SECONDS. Pure: no clock, no vLLM.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

TICK_SECONDS = 1.0
MOST_TICK_SECONDS = 2.0
ASK_SECONDS = 5.0
"""Time without an answer after which the engine core is asked."""
PROBE_SECONDS = 30.0
"""Time without a step after which the engine has to generate one token."""
NOT_READY_SECONDS = 10.0
"""Until an engine that computes nothing is not ready."""
BUSY_NOT_READY_SECONDS = 30.0
"""The same if it computes: the first prompts of a new shape may compile kernels for so long."""
QUIET_SECONDS = 30.0
"""Until an engine that computes nothing hangs."""
STALLED_SECONDS = 60.0
READY_MARGIN, HANG_MARGIN = 2.0, 3.0
"""An engine that has already answered after a long wait is given so many times that wait, up to a step's time."""


class Activity(enum.Enum):
    """What the engine's processes do while no answer arrives."""

    BUSY = "its processes compute"
    QUIET = "its processes use neither CPU nor GPU"
    STOPPED = "a process of it is stopped"
    TRACED = "a debugger has stopped it"


@dataclass(frozen=True, slots=True)
class Hang:
    """The facts of a hang."""

    seconds: float
    requests: int
    """Requests that wait."""
    limit: float
    detail: str

    def __str__(self) -> str:
        waiting = "1 request waits" if self.requests == 1 else f"{self.requests} requests wait"
        return f"no step of the engine for {self.seconds:.0f} s (limit {self.limit:.0f} s): {self.detail}; {waiting}"


class EngineWatch:
    """The state of one engine. `activity` is read once per tick while no answer arrives."""

    def __init__(self, step_seconds: float, activity: Callable[[], Activity]) -> None:
        """`step_seconds`: how long one step of the engine may take."""
        self._step_seconds = step_seconds
        self._activity = activity
        self._answer = self._step = False
        """Whether one arrived since the last tick."""
        self._since_answer = self._since_step = 0.0
        self._unanswered = self._untraced = self._quiet = self._stalled = 0.0
        """`_untraced`: without the time in which a debugger stopped the engine."""
        self._longest = self._longest_quiet = 0.0
        """The longest waits that an answer ended."""
        self._doing = Activity.BUSY
        self._requests = 0

    def answered(self) -> None:
        """A message of the engine core arrived."""
        self._answer = True

    def stepped(self) -> None:
        """A message arrived that shows a step of the engine, or the engine sleeps on purpose."""
        self._answer = self._step = True

    def tick(self, seconds: float, requests: int, is_probed: bool) -> None:
        """So many seconds have passed since the last tick. `requests` wait now, and a probe if `is_probed`."""
        seconds = min(seconds, MOST_TICK_SECONDS)
        waits = requests > 0 or is_probed
        self._requests = requests
        self._since_answer += seconds
        self._since_step += seconds
        if self._answer:
            self._longest = max(self._longest, self._unanswered)
            self._longest_quiet = max(self._longest_quiet, self._quiet)
            self._since_answer = 0.0
        if self._answer or not waits:
            self._unanswered = self._untraced = self._quiet = 0.0
        else:
            self._wait(seconds)
        if self._step or not requests:
            # A probe alone is not enough: a model may take none, although it takes the requests of clients.
            self._stalled = 0.0
        elif self._unanswered <= NOT_READY_SECONDS:
            self._stalled += seconds
        if self._step:
            self._since_step = 0.0
        self._answer = self._step = False

    def _wait(self, seconds: float) -> None:
        self._doing = self._activity()
        self._unanswered += seconds
        if self._doing is not Activity.TRACED:
            self._untraced += seconds
        self._quiet = self._quiet + seconds if self._doing in (Activity.QUIET, Activity.STOPPED) else 0.0

    @property
    def asks(self) -> bool:
        """Whether the engine core should be asked, if no earlier question is open."""
        return self._since_answer >= ASK_SECONDS or self.probes

    @property
    def probes(self) -> bool:
        """Whether the engine should generate a token."""
        return self._since_step >= PROBE_SECONDS

    @property
    def stalled_seconds(self) -> float:
        """How long requests or a probe have waited without an answer, or without a step."""
        return max(self._unanswered, self._stalled)

    @property
    def not_ready(self) -> Hang | None:
        """Why the engine should get no new requests."""
        for waited, least, longest in (
            (self._quiet, NOT_READY_SECONDS, self._longest_quiet),
            (self._unanswered, BUSY_NOT_READY_SECONDS, self._longest),
        ):
            if waited >= (limit := self._bound(least, READY_MARGIN * longest)):
                return Hang(self._unanswered, self._requests, limit, self._doing.value)
        if self._stalled >= STALLED_SECONDS:
            return Hang(self._stalled, self._requests, STALLED_SECONDS, _STALLED)
        return None

    @property
    def hang(self) -> Hang | None:
        """Why the engine has to be restarted."""
        if self._quiet >= (limit := self._bound(QUIET_SECONDS, HANG_MARGIN * self._longest_quiet)):
            return Hang(self._unanswered, self._requests, limit, self._doing.value)
        if self._untraced >= self._step_seconds:
            return Hang(self._unanswered, self._requests, self._step_seconds, self._doing.value)
        if self._stalled >= (limit := STALLED_SECONDS + self._step_seconds):
            return Hang(self._stalled, self._requests, limit, _STALLED)
        return None

    def _bound(self, least: float, longest: float) -> float:
        return min(self._step_seconds, max(least, longest))


_STALLED = "the engine core answers and computes nothing"
