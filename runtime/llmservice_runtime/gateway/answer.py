"""One answer on its way to the client, and the application's view of the client.

Each part of a stream passes through `ResponseStream.send`, so it does as little as possible: it counts, takes the time
of the first part, and passes on. At the deadline, or if a websocket is cut, `ReceiveChannel` reports to the application
that the client has disconnected, the only event on which vLLM frees the engine. Whatever the application still sends is
dropped, and the gateway ends the answer itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llmservice_runtime.gateway.asgi import Headers, Message, Receive, Scope, Send
from llmservice_runtime.gateway.dependencies import Lines
from llmservice_runtime.gateway.error_shapes import error_event, send_refusal, shape_of
from llmservice_runtime.gateway.parse_queue import APPLICATION_SECONDS, Turn
from llmservice_runtime.gateway.refusals import Refusal, websocket_too_large

END_SECONDS = 1.0
"""Time for the application to end after it was cancelled, and for the client to read the end."""
BYTES_PER_TOKEN = 853
"""Of a websocket's messages: 16-bit samples at 16 kHz in base64, 50 tokens per second."""
_BODY = "http.response.body"
_EVENTS = b"text/event-stream"
_OF_STREAMS = ((b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no"))
"""Without these headers proxies such as NGINX buffer events, for example to compress them."""
_GOING_AWAY = 1001
_SWITCHED = 101
_DISCONNECT = {"http": "http.disconnect", "websocket": "websocket.disconnect"}


class ResponseStream:
    """What the application sends, as the client gets it."""

    __slots__ = (
        "_extra",
        "_lines",
        "_now",
        "_send",
        "closed",
        "complete",
        "cut",
        "expired",
        "first",
        "is_sending",
        "is_stream",
        "last",
        "parts",
        "received",
        "stalled",
        "status",
    )

    def __init__(self, send: Send, extra: Headers, lines: Lines | None, now: Callable[[], float]) -> None:
        """`extra`: headers of the gateway's own, in place of others with the same names."""
        self._send = send
        self._extra = extra
        self._lines = lines
        self._now = now
        self.status = 0
        """0: nothing has been sent."""
        self.is_stream = False
        self.parts = 0
        """Parts of the body that were not empty, or messages of a websocket."""
        self.received = 0
        """Tokens of the messages that came by a websocket."""
        self.is_sending = False
        """Whether a message is being sent."""
        self.stalled = False
        """Whether the client has kept the answer from being sent, so that there may be more of it than was sent."""
        self.first: float | None = None
        """When the first of them was sent."""
        self.last = b""
        """The last of them."""
        self.complete = False
        self.closed = False
        """Whether nothing of the application's is sent any more: the deadline has passed, or the client has gone."""
        self.expired = False
        """Whether the gateway ends the answer."""
        self.cut: Refusal | None = None
        """Why, if not because of the deadline."""

    def add_headers(self, headers: Headers) -> None:
        """More of the gateway's own headers."""
        self._extra = [*self._extra, *headers]

    async def send(self, message: Message) -> None:
        """Passes a message of the application on."""
        if self.closed:
            return
        if message["type"] == _BODY:
            body = message.get("body")
            if body:
                self.last = body
                self.parts += 1
                if self.first is None:
                    self.first = self._now()
            if not message.get("more_body"):
                self.complete = True
            if self._lines is not None:
                message = self._lines.body(message)
        else:
            message = self._other(message)
        self.is_sending = True
        await self._send(message)
        self.is_sending = False

    def expire(self) -> None:
        """The deadline has passed."""
        self.closed = True
        self.expired = not self.complete

    async def refuse(self, refusal: Refusal, scope: Scope) -> None:
        """Answers instead of the application."""
        await send_refusal(refusal, scope, self._send, self._extra)

    async def end(self, refusal: Refusal, scope: Scope) -> None:
        """Ends an answer that has begun. The last event of a stream says why, another answer is cut off."""
        if self.status == _SWITCHED:
            code = refusal.close_code or _GOING_AWAY
            await self._send({"type": "websocket.close", "code": code, "reason": refusal.reason})
        elif self.is_stream:
            event = error_event(refusal, shape_of(scope), self._extra, self.parts)
            message: Message = {"type": _BODY, "body": event, "more_body": True}
            await self._send(message if self._lines is None else self._lines.body(message))
            await self._send({"type": _BODY, "body": b""})

    def _other(self, message: Message) -> Message:
        kind = message["type"]
        if kind == "http.response.start":
            return self._start(message)
        if kind == "websocket.accept":
            self.status = _SWITCHED
            return {**message, "headers": [*message.get("headers", ()), *self._extra]}
        if kind == "websocket.send":
            self.parts += 1
        elif kind == "websocket.close":
            self.complete = True
        return message

    def _start(self, message: Message) -> Message:
        self.status = message["status"]
        names = {name for name, _ in self._extra}
        headers = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
        self.is_stream = any(name.lower() == b"content-type" and value.startswith(_EVENTS) for name, value in headers)
        if self.is_stream:
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in _OF_STREAMS if pair[0] not in present]
        message = {**message, "headers": [*headers, *self._extra]}
        return message if self._lines is None else self._lines.start(message)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a websocket takes, in bytes."""

    message: int
    total: int


class ReceiveChannel:
    """The messages that the application receives: the body once, if it was read before, then those of the client."""

    __slots__ = (
        "_answer",
        "_body",
        "_bounds",
        "_kind",
        "_limits",
        "_receive",
        "_take_turn",
        "_total",
        "_turn",
        "_until",
        "gone",
        "work",
    )

    def __init__(
        self,
        kind: str,
        receive: Receive,
        body: bytes | None,
        answer: ResponseStream,
        until: float,
        bounds: Bounds,
        take_turn: Callable[[], Awaitable[Turn]] | None = None,
    ) -> None:
        """`kind`: the scope's type. `until`: the deadline on the event loop's clock. `take_turn`: of a large body."""
        self._kind = kind
        self._receive = receive
        self._body = body
        self._answer = answer
        self._until = until
        self._bounds = bounds
        self._take_turn = take_turn
        self._turn: Turn | None = None
        self._total = 0
        self._limits: set[asyncio.Timeout] = set()
        """Of those that wait for a message: frameworks begin to wait again before the wait before has ended."""
        self.work: asyncio.Timeout | None = None
        """The timeout that cancels an application that does not react to the disconnect."""
        self.gone = False
        """Whether the client went away before its answer was complete."""

    async def receive(self) -> Message:
        """The next message for the application."""
        # It asks for more only after it has parsed the body.
        self.end_turn()
        try:
            async with asyncio.timeout_at(self._until) as limit:
                self._limits.add(limit)
                message = await self._next()
        except TimeoutError:
            if not limit.expired():
                raise
            return self._end()
        finally:
            self._limits.discard(limit)
        if message["type"] == _DISCONNECT[self._kind] and not self._answer.complete:
            self.gone = self._answer.closed = True
        elif message["type"] == "websocket.receive" and not self._takes(message):
            return self._end()
        return message

    async def _next(self) -> Message:
        if self._body is None:
            return await self._receive()
        if self._take_turn is not None:
            self._turn = await self._take_turn()
            self._turn.end_within(APPLICATION_SECONDS)
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    def end_turn(self) -> None:
        """The application has parsed the body, or never will."""
        if self._turn is not None:
            self._turn.end()
            self._turn = None

    def stop(self, refusal: Refusal) -> None:
        """Ends the answer from now on, as at the deadline."""
        if self._answer.cut is None and not self._answer.closed:
            self._answer.cut = refusal
            self._until = asyncio.get_running_loop().time()
            for limit in self._limits:
                if not limit.expired():
                    limit.reschedule(self._until)
            if self.work is not None and not self.work.expired():
                self.work.reschedule(self._until + END_SECONDS)

    def _takes(self, message: Message) -> bool:
        """Counts a message of a websocket; whether it is within the bounds."""
        size = len(message.get("text") or message.get("bytes") or "")
        self._total += size
        self._answer.received += 1 + size // BYTES_PER_TOKEN
        for most, found, what in (
            (self._bounds.message, size, "A message"),
            (self._bounds.total, self._total, "All messages together"),
        ):
            if found > most:
                self.stop(websocket_too_large(what, found, most))
        return self._answer.cut is None

    def _end(self) -> Message:
        self._answer.expire()
        return {"type": _DISCONNECT[self._kind], "code": _GOING_AWAY}
