"""Charges a request for its tokens while it runs, so that an answer counts in the minutes in which it is made.

Once a second what it has used for certain since then is charged, and the rest of its reservation stays reserved. A
request whose answer has no bound keeps its reservation until its end, whatever it has used. Once it may have used it,
it ends if a charge says that its key is above its limit; the limiter answers with the charge, so nothing waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llmservice_runtime.front.answer import Answer
from llmservice_runtime.front.limits.limiter import NOT_COUNTED, Grant, Limiter
from llmservice_runtime.front.routes import Kind
from llmservice_runtime.front.sizes import Size
from llmservice_runtime.front.usage import is_past_reservation, used_so_far

CHARGE_SECONDS = 1.0
RENEW_SECONDS = 20.0
"""So often a reservation is renewed if there is nothing to charge; the limiter drops it after WINDOW_SECONDS."""


class Charges:
    """What one running request is charged."""

    __slots__ = (
        "_answer",
        "_charged",
        "_grant",
        "_idle",
        "_kind",
        "_limiter",
        "_on_excess",
        "_parts",
        "_past",
        "_seconds",
        "_size",
        "_timer",
    )

    def __init__(
        self,
        limiter: Limiter,
        grant: Grant,
        kind: Kind,
        size: Size,
        answer: Answer,
        on_excess: Callable[[], None] | None,
    ) -> None:
        """`on_excess`: called after a charge while the key has used more tokens than its limit.

        But for a websocket, not before the request may have used its own reservation.
        """
        self._limiter = limiter
        self._grant = grant
        self._kind = kind
        self._size = size
        self._answer = answer
        self._on_excess = on_excess
        self._charged = 0
        self._idle = 0.0
        """Seconds since the last charge."""
        self._past = False
        """Whether it may have used its reservation."""
        self._seconds = 0.0
        """Since it began."""
        self._parts = -1
        """Parts of the answer a second ago, if one was being sent then."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on it is charged; `end` has to follow."""
        self._timer = asyncio.get_running_loop().call_later(CHARGE_SECONDS, self._tick)

    def end(self, used: int) -> None:
        """It has used so many tokens in all; nothing stays reserved."""
        if self._timer is not None:
            self._timer.cancel()
        # What was charged stays charged, also where the estimate was too high.
        self._limiter.charge(self._grant, max(0, used - self._charged), 0)

    def charge(self) -> None:
        """Charges what it has used so far; to be called every CHARGE_SECONDS."""
        self._note_stall()
        if self._grant.slot == NOT_COUNTED:
            return
        used = used_so_far(self._kind, self._answer, self._size) - self._charged
        self._idle += CHARGE_SECONDS
        has_to_know = self._has_to_know()
        if used > 0 or has_to_know or self._idle >= RENEW_SECONDS:
            self._idle = 0.0
            self._charged += max(0, used)
            least = self._size.completion_tokens if self._size.is_open else 0
            self._limiter.charge(self._grant, max(0, used), max(self._grant.ask.tokens - self._charged, least))
        if self._grant.exceeded and self._on_excess is not None and (self._past or self._kind is Kind.REALTIME):
            self._on_excess()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(CHARGE_SECONDS, self._tick)
        self.charge()

    def _has_to_know(self) -> bool:
        """Whether to charge even nothing, so as to learn how its key stands now."""
        self._seconds += CHARGE_SECONDS
        if self._on_excess is None or self._kind is Kind.REALTIME:
            return False
        past = is_past_reservation(self._answer, self._size, self._seconds)
        if past and not self._past:
            # What an earlier charge said may have been long ago.
            self._grant.exceeded = False
        self._past = past
        return past

    def _note_stall(self) -> None:
        """A client that takes nothing for a second keeps parts from being sent; the engine goes on meanwhile."""
        answer = self._answer
        if answer.is_sending and answer.parts == self._parts:
            answer.stalled = True
        self._parts = answer.parts if answer.is_sending else -1
