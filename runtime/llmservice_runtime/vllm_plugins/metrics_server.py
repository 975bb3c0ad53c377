"""Serves the metrics page, and small pages for the operator, on a port of their own, so that clients of the API need no
access to them.

A thread with its own event loop serves it, so no scrape delays the loop that answers clients. Each page is rendered
after its request arrived. Requests that arrive before the next rendering is due wait and share its page, so that
rendering never takes more than a twentieth of a core.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from asyncio import StreamReader, StreamWriter, Task
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from types import MappingProxyType

from llmservice_contract.container import METRICS_PATH

HEAD_BYTES = 8192
CONNECTIONS = 32
"""If there is one more, the oldest is closed."""
SECONDS = 10.0
"""Time limit of a connection, including the answer."""
REST = 19
"""After a page, the next rendering waits for this multiple of the last rendering time."""
MOST_REST_SECONDS = 1.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_log = logging.getLogger(__name__)


class MetricsServer:
    """Answers GET /metrics with the result of `render`, which is called in one thread only."""

    def __init__(
        self,
        render: Callable[[], bytes],
        now: Callable[[], float] = time.monotonic,
        pages: Mapping[str, Callable[[], bytes]] = MappingProxyType({}),
    ) -> None:
        """`pages`: what else is served, by path. They have to be cheap."""
        self._render = render
        self._pages = pages
        self._now = now
        self._due = float("-inf")
        self._next: Task[bytes] | None = None
        self._open: dict[StreamWriter, None] = {}

    async def listen(self, port: int, host: str | None = None) -> asyncio.Server:
        """Serves in the running event loop until the returned server is closed. Raises OSError."""
        return await asyncio.start_server(self._serve, host, port, limit=HEAD_BYTES)

    def start(self, port: int, host: str | None = None) -> None:
        """Serves in a thread of its own until the process ends. Raises OSError if the port is taken."""
        started: Future[None] = Future()
        threading.Thread(target=self._run, args=(port, host, started), name="metrics", daemon=True).start()
        started.result()

    def _run(self, port: int, host: str | None, started: Future[None]) -> None:
        loop = asyncio.new_event_loop()
        try:
            server = loop.run_until_complete(self.listen(port, host))
        except BaseException as error:
            started.set_exception(error)
            loop.close()
            return
        started.set_result(None)
        loop.run_until_complete(server.serve_forever())

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS:
            next(iter(self._open)).transport.abort()
        self._open[writer] = None
        try:
            async with asyncio.timeout(SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            writer.transport.abort()
        finally:
            del self._open[writer]
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        method, path, *_rest = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", ""]
        page = self._pages.get(path)
        if page is not None and method == "GET":
            return _response(HTTPStatus.OK, page())
        if path != METRICS_PATH:
            return _response(HTTPStatus.NOT_FOUND, b"Only /metrics is served here.\n")
        if method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"Only GET is allowed.\n", "Allow: GET\r\n")
        try:
            return _response(HTTPStatus.OK, await self._page())
        except Exception:
            _log.exception("The metrics could not be rendered")
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR, b"The metrics could not be rendered; see the log.\n")

    async def _page(self) -> bytes:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._make())
        return await asyncio.shield(self._next)

    async def _make(self) -> bytes:
        await asyncio.sleep(max(0.0, self._due - self._now()))
        # A request that arrives after this gets a later page.
        self._next = None
        begun = self._now()
        try:
            return self._render()
        finally:
            ended = self._now()
            self._due = ended + min(REST * (ended - begun), MOST_REST_SECONDS)


def _response(status: HTTPStatus, body: bytes, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {CONTENT_TYPE}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
