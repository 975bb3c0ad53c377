"""Limits of HTTP connections before there is a request, for vLLM's HTTP server.

uvicorn parses HTTP with httptools if it is installed, as here, but vLLM's limits (--h11-*) are for another parser. h11
costs 65 microseconds more per request (hack/bench/http_parsers.py), so httptools stays and gets the limits, which cost
2 microseconds: size and number of headers, time for a head, pipelined requests, small chunks of a body, data discarded
after an early answer, clients that do not read, and the number of connections. `install` makes it the protocol of this
process.

A load balancer of connections, such as kube-proxy, sends requests to another replica only when a client opens a new
connection. So answers request that (`Connection: close`) after some time, and from the start of a drain. When a drained
replica refuses requests, it closes idle connections.

Some clients offer in each request to switch to HTTP/2 (`Upgrade: h2c`; Java's HttpClient does for http:// addresses). A
server that does not switch answers as if there were no offer, but httptools ends such a request after its head and
drops the body. So its head is parsed once more, without the offer. Clients of HTTP/1.0 know no chunked answers: theirs
end with the connection.

A head is the request line and the headers. A connection waits while it has no request: when it is new, and between
requests.
"""

from __future__ import annotations

import asyncio
import random
import select
import weakref
from typing import Any

import httptools
from uvicorn import config as uvicorn_config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from llmservice_runtime.gateway.drain import drain_of_process
from llmservice_runtime.launcher.command import MOST_HEAD_BYTES, MOST_HEADERS

HEAD_SECONDS = 10.0
"""From the start of a connection, or the first byte of a head, to the end of the head."""
MOST_PIPELINED = 8
"""Requests of a connection that wait for the answer to an earlier one."""
MOST_FRAMING_BYTES = 64 * 1024
"""Lengths, extensions and trailers of a chunked body; further bytes up to the size of the body are allowed."""
FREE_CHUNKS, LEAST_CHUNK_BYTES = 256, 32
"""Further chunks must have this size on average."""
MOST_DISCARDED_BYTES = 16 * 1024 * 1024
"""Bytes of a body that are discarded if its request was answered before it was read."""
DISCARD_SECONDS = 10.0
STALL_SECONDS = 60.0
"""How long a client may read nothing of an answer."""
AGE_SECONDS = 60.0
"""After which an answer asks the client for a new connection; each has between 4/5 and 6/5 of it, so that those that
were made together do not end together. An idle connection is not closed because of its age."""
MOST_CONNECTIONS = 10_000
"""Beyond it, the connection that has waited longest is closed for a new one; if none waits, the new one is refused."""

_INVALID = "Invalid HTTP request received."
_TEXTS = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_waiting_of: weakref.WeakKeyDictionary[Any, dict[BoundedHttp, None]] = weakref.WeakKeyDictionary()
"""The waiting connections of each server, longest first."""


class Beyond(Exception):
    """A limit is exceeded; it ends the parsing."""


class UnchunkedCycle(RequestResponseCycle):
    """A request of HTTP/1.0. The end of an answer without a length is that of the connection, which uvicorn closes."""

    _ends_with_connection = False

    async def send(self, message: Any) -> None:
        """See ASGI."""
        if not self.response_started:
            names = {name.lower() for name, _ in message.get("headers", ())}
            if b"content-length" not in names:
                self._ends_with_connection, self.chunked_encoding = True, False
        elif self._ends_with_connection:
            # uvicorn compares parts with the length that is left.
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._waiting = _waiting_of.setdefault(self.server_state, {})
        self._in_head = self._in_body = False
        """Whether a head is incomplete; whether the body after it is."""
        self._fed = 0
        """Bytes received since the last end of a head or a request."""
        self._body_bytes = self._chunks = self._trailer_bytes = 0
        self._status = 0
        """HTTP status of the exceeded limit; 0 for an invalid request."""
        self._timer: asyncio.TimerHandle | None = None
        """Ends the time for a head, or for discarding a body."""
        self._stalled: asyncio.TimerHandle | None = None
        self._drain = drain_of_process()
        self._old_at = self.loop.time() + AGE_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 (spreads load)

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS and not self._make_room():
            self._refuse(503)
            return
        self._waiting[self] = None
        self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._fed += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.logger.warning(_INVALID)
            self.send_400_response(_INVALID)
            return
        if self._in_body:
            if self._fed > MOST_FRAMING_BYTES:
                self._check_body()
        elif (self._in_head or self._fed) and not self.transport.is_closing():
            # The end of this data is part of a head, or of what is skipped before one. What one read of the socket
            # brings (256 KiB) may come on top of the bound; the gateway looks at the size of complete heads.
            if self._fed > MOST_HEAD_BYTES:
                self._refuse(431)
            elif self._timer is None:
                self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _parse(self, data: bytes) -> None:
        """Raises HttpParserError if it is no HTTP."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                if not self._declines():
                    self._unsupported_upgrade_warning()
                    return
                # The parser is at its end, and the position is in this data.
                data = self._head_without_offer() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _declines(self) -> bool:
        """Whether the request offers another protocol that is not used. CONNECT has no body, so is not one of these."""
        upgrades = self.parser.should_upgrade() and not self._should_upgrade()
        return bool(upgrades and self.parser.get_method() != b"CONNECT")

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))

    def on_message_begin(self) -> None:
        """See httptools."""
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools; trailers count as headers there."""
        if self._in_body:
            self._trailer_bytes += len(name) + len(value)
            if self._trailer_bytes > MOST_FRAMING_BYTES:
                self._status = 431
                raise Beyond
            # Dropped, because they would look like headers, which a proxy in front may have checked.
            return
        headers = self.headers
        if len(headers) >= MOST_HEADERS:
            self._status = 431
            raise Beyond
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See httptools."""
        if len(self.pipeline) >= MOST_PIPELINED:
            raise Beyond
        if self._declines():
            return
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            # Its task has been made and has not begun.
            self.cycle.__class__ = UnchunkedCycle
        if not self._drain.ready or self.loop.time() >= self._old_at:
            self._close_after_answer()
        self._in_head, self._in_body = False, True
        self._fed = self._body_bytes = self._chunks = self._trailer_bytes = 0
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_chunk_header(self) -> None:
        """See httptools."""
        self._chunks += 1
        if self._chunks > FREE_CHUNKS + self._body_bytes // LEAST_CHUNK_BYTES:
            raise Beyond

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._declines():
            return
        self._in_body = False
        self._fed = 0
        super().on_message_complete()
        if self._timer is not None:
            # The body was discarded completely. Its data has stopped uvicorn's timer of an idle connection.
            self._timer.cancel()
            self._timer = None
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """The answer has been sent."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._waiting[self] = None
            if self._in_body and self._timer is None:
                self._timer = self.loop.call_later(DISCARD_SECONDS, self._late)

    def handle_websocket_upgrade(self) -> None:
        """Passes the connection to the websocket protocol.

        That protocol does not answer a head that it can't parse (another method than GET, a line above 8 KiB). The
        client could then keep the connection open forever, and there are only MOST_CONNECTIONS.
        """
        if self._answers() or self.scope["method"] != "GET":
            self._refuse(400)
            return
        self._leave()
        # 256 KiB of compressed messages, as one read of the socket may bring, would be 256 MiB in memory.
        self.config.ws_per_message_deflate = False
        super().handle_websocket_upgrade()
        websocket = getattr(self.transport.get_protocol(), "conn", None)
        if getattr(websocket, "handshake_exc", None) is not None:
            self._refuse(400)

    def timeout_keep_alive_handler(self) -> None:
        """The idle time-out is over."""
        self._close()

    def send_400_response(self, msg: str) -> None:
        """Parsing has failed."""
        if self._status:
            self._refuse(self._status)
        elif self._answers():
            self._close()
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client reads slower than data is sent."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def shed(self, idle: bool) -> None:
        """Has the client send its next request elsewhere; `idle`: also if it has none now."""
        if self._answers():
            self._close_after_answer()
        elif idle and not (self._in_head or self._in_body or self._fed or self._has_unread()):
            self._close()

    def _close_after_answer(self) -> None:
        """The answer to the newest request is the last one; it says so if it has not begun."""
        if self._answers():
            self.cycle.keep_alive = False

    def _has_unread(self) -> bool:
        """Whether the client has sent what the event loop has not come to read: to close would lose a request."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _answers(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _check_body(self) -> None:
        if self.cycle is not None and self.cycle.response_complete:
            if self._fed > MOST_DISCARDED_BYTES:
                self._close()
        elif self._fed - self._body_bytes > MOST_FRAMING_BYTES + self._body_bytes:
            self.send_400_response(_INVALID)

    def _late(self) -> None:
        """A head, or the rest of a discarded body, did not arrive in time."""
        self._timer = None
        if self._answers():
            # The rest of the next head may not have been read yet.
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)
        elif self._in_body or not (self._in_head or self._fed):
            self._close()
        else:
            self._refuse(408)

    def _make_room(self) -> bool:
        """Closes the connection that has waited longest; False if none waits."""
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        longest._close()
        return True

    def _refuse(self, status: int) -> None:
        """Answers with a status and no body, and closes the connection."""
        if not self._answers() and not self.transport.is_closing():
            text = _TEXTS[status]
            self.transport.write(
                f"HTTP/1.1 {status} {text}\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
                f"content-length: {len(text)}\r\n\r\n{text}".encode()
            )
        self._close()

    def _close(self) -> None:
        """Closes the connection; data that the client does not read within a time is dropped."""
        self._leave()
        if self.transport.get_write_buffer_size():
            self._stalled = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        self.transport.close()

    def _leave(self) -> None:
        """Stops all timers of this connection."""
        self._waiting.pop(self, None)
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        self._timer = self._stalled = None


def install() -> None:
    """Makes this the default protocol of servers in this process; vLLM's server uses the default."""
    uvicorn_config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedHttp.__name__}"
    drain_of_process().watch(_shed)


def _shed() -> None:
    """What a step of the drain means for the connections of all servers of this process."""
    idle = drain_of_process().refuses
    for state in list(_waiting_of):
        for connection in list(state.connections):
            if isinstance(connection, BoundedHttp):
                connection.shed(idle)
