"""Charges a request for its tokens while it runs, so that an answer counts in the minutes in which it is made.

Once a second what it has used for certain since then is charged, and the rest of its reservation stays reserved.

A request whose answer has no bound takes its reservation in pieces: before it has used what it has, it reserves as much
again. If its key has no room for that, the answer ends once the reservation is used, so it never takes the key beyond
its limit. It is looked at more often the nearer that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llmservice_runtime.gateway.answer import ResponseStream
from llmservice_runtime.gateway.asgi import Headers
from llmservice_runtime.gateway.engine_counts import EngineCounts
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import Size
from llmservice_runtime.gateway.usage import TOKENS_PER_SECOND, most_so_far, used_so_far
from llmservice_runtime.rate_limits.limiter import (
    NOT_COUNTED,
    Ask,
    Denial,
    Grant,
    Limiter,
    LimitState,
    StoreUnavailable,
)


def limit_headers(standing: LimitState) -> Headers:
    """How a key stands with its limits; empty without limits."""
    headers: Headers = []
    if standing.limit_requests is not None:
        headers += _told(b"requests", standing.limit_requests, standing.remaining_requests, standing.reset_requests)
    if standing.limit_tokens is not None:
        headers += _told(b"tokens", standing.limit_tokens, standing.remaining_tokens, standing.reset_tokens)
    return headers


def _told(what: bytes, limit: int, remaining: int | None, reset: float | None) -> Headers:
    """The seconds as OpenAI writes them: "12.345s"."""
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % limit),
        (b"x-ratelimit-remaining-" + what, b"%d" % (remaining or 0)),
        (b"x-ratelimit-reset-" + what, b"%.3fs" % max(0.0, reset or 0.0)),
    ]


CHARGE_SECONDS = 1.0
LEAST_SECONDS = 0.05
"""The shortest time between two charges of a request."""
SECONDS_FOR_EACH = 40e-6
"""The same for each of the answers that a request has at the engine: counting its tokens takes a hundredth of that."""
FIRST_SECONDS = 0.1
"""Until the first look at an answer of open length: how fast it is made is not known before."""
STOP_SECONDS = 0.1
"""What the engine goes on to make until the next look, and until it has heard that the answer ends."""
AHEAD_SECONDS = 0.5
"""The next piece is reserved so long before it is needed: longer than a store takes to answer."""
RENEW_SECONDS = 20.0
"""So often a reservation is renewed if there is nothing to charge; the limiter drops it after WINDOW_SECONDS."""


class Charges:
    """What one running request is charged."""

    __slots__ = (
        "_answer",
        "_charged",
        "_counts",
        "_denied",
        "_grant",
        "_idle",
        "_kind",
        "_limiter",
        "_made",
        "_on_excess",
        "_parts",
        "_piece",
        "_rate",
        "_reserved",
        "_reserving",
        "_seconds",
        "_sending",
        "_size",
        "_timer",
        "pause",
    )

    def __init__(
        self,
        limiter: Limiter,
        grant: Grant,
        kind: Kind,
        size: Size,
        answer: ResponseStream,
        counts: EngineCounts,
        on_excess: Callable[[], None] | None,
    ) -> None:
        """`on_excess`: called once the request has used what is reserved for it and its key has no room for more.

        None: it is never ended so. For a websocket: called after a charge while its key is above its limit.
        """
        self._limiter = limiter
        self._grant = grant
        self._kind = kind
        self._size = size
        self._answer = answer
        self._counts = counts
        self._on_excess = on_excess
        self._charged = 0
        self._reserved = grant.ask.tokens
        """Tokens that were reserved for it so far, charged ones included."""
        self._piece = max(1, size.completion_tokens)
        """Tokens of each further reservation."""
        self._reserving: asyncio.Task[None] | None = None
        self._denied = False
        """Whether the last attempt to reserve more was denied."""
        self._idle = 0.0
        """Seconds since the last charge."""
        self._seconds = 0.0
        """Since it began."""
        self._made = 0
        """Tokens of the answer that may have been made at the last look."""
        self._rate = float(TOKENS_PER_SECOND * size.requests)
        """Tokens of the answer in a second, the most that is likely."""
        self._parts = -1
        """Parts of the answer when a message began to be sent, if it still is."""
        self._sending = 0.0
        """Seconds since then."""
        self._timer: asyncio.TimerHandle | None = None
        self.pause = CHARGE_SECONDS
        """Seconds until `charge` has to be called."""
        if self._takes_pieces:
            self.pause = FIRST_SECONDS

    def begin(self) -> None:
        """From now on it is charged; `end` has to follow."""
        self._timer = asyncio.get_running_loop().call_later(self.pause, self._tick)

    def end(self, used: int) -> None:
        """It has used so many tokens in all; nothing stays reserved."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reserving is not None:
            self._reserving.cancel()
        # What was charged stays charged, also if the estimate was too high.
        self._limiter.charge(self._grant, max(0, used - self._charged), 0)

    def charge(self) -> None:
        """Charges what it has used so far; to be called `pause` seconds after the call before."""
        passed = self.pause
        self._seconds += passed
        self._idle += passed
        self._note_stall(passed)
        if self._grant.slot == NOT_COUNTED:
            return
        used = max(0, used_so_far(self._kind, self._answer, self._size, self._counts) - self._charged)
        if used or self._idle >= RENEW_SECONDS:
            self._idle = 0.0
            self._charged += used
            self._limiter.charge(self._grant, used, self._held())
        if self._on_excess is None:
            return
        if self._takes_pieces:
            self._keep_ahead(passed)
        elif self._grant.exceeded:
            self._on_excess()

    async def settled(self) -> None:
        """Returns once no reservation is on its way."""
        if self._reserving is not None:
            await asyncio.gather(self._reserving, return_exceptions=True)

    def _tick(self) -> None:
        self.charge()
        self._timer = asyncio.get_running_loop().call_later(self.pause, self._tick)

    def _held(self) -> int:
        return max(0, self._reserved - self._charged)

    def _keep_ahead(self, passed: float) -> None:
        """Reserves the next piece if what is reserved will be used soon; ends the answer if there is none."""
        if self._answer.complete:
            self.pause = CHARGE_SECONDS
            return
        prompt, made = most_so_far(self._answer, self._size, self._seconds, self._counts)
        self._rate = max(self._rate, (made - self._made) / passed)
        self._made = made
        left = self._reserved - prompt - made
        ahead = min(self._rate * AHEAD_SECONDS, self._piece)
        last = min(self._rate * STOP_SECONDS, self._piece / 2)
        if self._reserving is None:
            if self._denied and left <= last and self._on_excess is not None:
                self._on_excess()
            elif left <= ahead:
                self._reserving = asyncio.get_running_loop().create_task(self._reserve())
        until = last if self._denied else ahead
        least = max(LEAST_SECONDS, SECONDS_FOR_EACH * len(self._counts))
        self.pause = min(CHARGE_SECONDS, max(least, (left - until) / self._rate))

    @property
    def _takes_pieces(self) -> bool:
        """Whether it is an answer of open length that ends at its key's limit."""
        return self._on_excess is not None and self._kind is not Kind.REALTIME

    async def _reserve(self) -> None:
        """Reserves one more piece, and adds it to the reservation of this request."""
        try:
            more = await self._limiter.reserve(Ask(self._grant.ask.key_id, self._grant.ask.limit, 0, self._piece))
        except StoreUnavailable:
            # While the store is away nothing is ended.
            self._denied = False
            self._reserved += self._piece
            return
        finally:
            self._reserving = None
        self._denied = isinstance(more, Denial)
        if isinstance(more, Grant):
            self._reserved += self._piece
            self._limiter.charge(self._grant, 0, self._held())
            self._limiter.charge(more, 0, 0)

    def _note_stall(self, passed: float) -> None:
        """A client that takes nothing for a second keeps parts from being sent; the engine goes on meanwhile."""
        answer = self._answer
        is_same = answer.is_sending and answer.parts == self._parts
        self._sending = self._sending + passed if is_same else 0.0
        self._parts = answer.parts if answer.is_sending else -1
        if self._sending >= CHARGE_SECONDS:
            answer.stalled = True
