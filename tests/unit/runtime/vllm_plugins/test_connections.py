"""What a connection may do before there is a request, on uvicorn with uvloop as vLLM runs it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn import config as uvicorn_config

from llmservice_runtime.gateway import drain
from llmservice_runtime.launcher.command import MOST_HEADERS
from llmservice_runtime.vllm_plugins import connections
from llmservice_runtime.vllm_plugins.connections import BoundedHttp

ROOT = Path(__file__).parents[4]
PATIENCE_SECONDS = 20.0
SHORT = 0.3
"""Stands for the times of the module."""
LARGE = 4 * 1024 * 1024
GET = b"GET %s HTTP/1.1\r\nHost: a\r\n"
HEALTH = GET % b"/health" + b"\r\n"
CHUNKED = b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class App:
    """Answers as its paths say."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.headers: list[Any] = []
        self.bodies: list[int] = []
        self.begun = 0
        self.loop: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            self.loop = asyncio.get_running_loop()
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        self.begun += 1
        path = scope["path"]
        if path == "/slow":
            while (await receive())["type"] != "http.disconnect" and not self.go_on.is_set():
                pass
        if path == "/late":
            await asyncio.to_thread(self.go_on.wait, PATIENCE_SECONDS)
        if path == "/echo":
            await self._read(receive)
        self.headers.append(scope["headers"])
        if path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await asyncio.to_thread(self.go_on.wait, PATIENCE_SECONDS)
            await send({"type": "http.response.body", "body": b"last"})
            return
        body = b"x" * LARGE if path == "/large" else b"ok"
        status = 401 if path == "/refused" else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def _read(self, receive: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        self.bodies.append(size)


class Server:
    """One in a thread of its own."""

    def __init__(self) -> None:
        self.app = App()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(self.app, log_level="critical", access_log=False, timeout_keep_alive=30)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: uvloop.run(self._server.serve(sockets=[self._socket])))

    @property
    def open(self) -> int:
        """Connections."""
        return len(self._server.server_state.connections)

    def __enter__(self) -> Server:
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(uvicorn_config, "HTTP_PROTOCOLS", dict(uvicorn_config.HTTP_PROTOCOLS))
    monkeypatch.setattr(drain, "_of_process", drain.Drain())
    connections.install()
    with Server() as server:
        yield server


def send(connection: socket.socket, data: bytes) -> int:
    """How much of it the server took."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < len(data):
            sent += connection.send(data[sent : sent + 65_536])
    return sent


def received(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            data += part
    return data


def answer(connection: socket.socket) -> bytes:
    """One answer of two bytes, or to the end of the connection."""
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n") and (part := connection.recv(65_536)):
        data += part
    return data


def status(data: bytes) -> int:
    return int(data.split(b" ", 2)[1]) if data else 0


def test_it_is_what_a_server_gets_that_names_no_protocol(server: Server) -> None:
    assert server._server.config.http_protocol_class is BoundedHttp
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(HEALTH)
            assert status(answer(connection)) == 200


def test_the_tests_have_the_http_server_of_the_images() -> None:
    pins = (ROOT / "runtime" / "requirements-cpu.txt").read_text()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    for name in ("uvicorn", "httptools"):
        (pin,) = [each for each in wanted if each.startswith(f"{name}==")]
        assert f"\n{pin} " in pins


@pytest.mark.parametrize(
    "head",
    [
        GET % b"/health" + b"X: " + b"a" * LARGE,
        b"GET /" + b"a" * LARGE,
        GET % b"/health" + b"".join(b"X%d: a\r\n" % number for number in range(400_000)),
        b"\r\n" * (LARGE // 2),
        b"X" * LARGE,
    ],
    ids=["long value", "long request line", "many headers", "empty lines", "no method"],
)
def test_a_head_without_end_is_refused_soon(server: Server, head: bytes) -> None:
    with server.connect() as connection:
        taken = send(connection, head)
        assert status(received(connection)) in (0, 400, 431)
        # What lay in the buffers of the sockets counts as taken.
        wait_until(lambda: server.open == 0)
        assert taken <= LARGE
    assert server.app.begun == 0
    with server.connect() as connection:
        connection.sendall(HEALTH)
        assert status(answer(connection)) == 200


def test_a_head_that_is_too_long_is_told_so(server: Server) -> None:
    for head in (b"X: " + b"a" * 70_000, b"".join(b"X%d: a\r\n" % number for number in range(129))):
        with server.connect() as connection:
            connection.sendall(GET % b"/health" + head)
            assert status(received(connection)) == 431


def test_as_many_headers_as_allowed_pass(server: Server) -> None:
    with server.connect() as connection:
        headers = b"".join(b"X%d: a\r\n" % number for number in range(127))
        connection.sendall(GET % b"/health" + headers + b"\r\n")
        assert status(answer(connection)) == 200
    assert len(server.app.headers[0]) == 128


def test_half_heads_are_closed_in_time_however_they_drip(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SHORT)
    begun = time.monotonic()
    with contextlib.ExitStack() as opened:
        silent, half, later, dripping = (opened.enter_context(server.connect()) for _ in range(4))
        half.sendall(GET % b"/health")
        later.sendall(HEALTH + b"GET /he")
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < begun + PATIENCE_SECONDS:
                dripping.sendall(b"G")
                time.sleep(SHORT / 10)
        assert time.monotonic() < begun + PATIENCE_SECONDS
        assert received(silent) == b""
        assert status(received(half)) == 408
        answers = received(later)
        assert (answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 408")) == (1, 1)
        wait_until(lambda: server.open == 0)


def test_an_idle_connection_outlives_the_time_for_a_head(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SHORT / 10)
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(HEALTH)
            assert status(answer(connection)) == 200
            time.sleep(SHORT)


def test_a_request_that_takes_long_is_not_cut(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SHORT / 10)
    with server.connect() as connection:
        connection.sendall(GET % b"/slow" + b"\r\nGET /he")
        time.sleep(SHORT)
        assert server.open == 1
        server.app.go_on.set()


def test_only_some_requests_may_wait_behind_another(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall((GET % b"/slow" + b"\r\n") + HEALTH * connections.MOST_PIPELINED)
        wait_until(lambda: server.app.begun == 1)
        time.sleep(SHORT)
        assert server.open == 1
    with server.connect() as connection:
        send(connection, (GET % b"/slow" + b"\r\n") + HEALTH * 10_000)
        assert received(connection) == b""
    wait_until(lambda: server.open == 0)
    assert server.app.begun <= 2 + connections.MOST_PIPELINED


def test_requests_in_a_row_are_all_answered(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(HEALTH * connections.MOST_PIPELINED)
        data = b""
        while data.count(b"HTTP/1.1 200") < connections.MOST_PIPELINED:
            data += connection.recv(65_536)


@pytest.mark.parametrize(
    "body",
    [
        b"1\r\na\r\n" * LARGE,
        b"1;" + b"x" * LARGE + b"\r\na\r\n",
        b"1;x=y\r\na\r\n" * LARGE,
        b"0\r\nX: " + b"a" * LARGE,
        b"0\r\n" + b"X: a\r\n" * LARGE,
    ],
    ids=["small chunks", "long extension", "extensions", "long trailer", "trailers"],
)
def test_what_frames_a_body_is_bounded(server: Server, body: bytes) -> None:
    with server.connect() as connection:
        send(connection, CHUNKED % b"/echo" + body)
        assert status(received(connection)) in (0, 400, 431)
    wait_until(lambda: server.open == 0)
    assert server.app.bodies == []


def test_usual_chunks_and_their_trailers_pass_but_trailers_are_no_headers(server: Server) -> None:
    with server.connect() as connection:
        chunks = b"40;a=b\r\n" + b"a" * 64 + b"\r\n"
        connection.sendall(CHUNKED % b"/echo" + chunks * 10_000 + b"0\r\nAuthorization: Bearer x\r\n\r\n")
        assert status(answer(connection)) == 200
        connection.sendall(CHUNKED % b"/echo" + b"1\r\na\r\n" * 200 + b"0\r\n\r\n")
        assert status(answer(connection)) == 200
    assert server.app.bodies == [640_000, 200]
    assert [name for headers in server.app.headers for name, _ in headers] == [b"host", b"transfer-encoding"] * 2


def test_a_body_whose_request_was_refused_is_discarded_within_a_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "DISCARD_SECONDS", SHORT)
    head = b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head % 1000)
        assert status(answer(connection)) == 401
        connection.sendall(b"a" * 1000)
        time.sleep(2 * SHORT)
        connection.sendall(HEALTH)
        assert status(answer(connection)) == 200, "it came in time, so the connection is as good as new"
    with server.connect() as connection:
        connection.sendall(head % 10**9)
        assert status(answer(connection)) == 401
        assert received(connection) == b""


def test_a_body_whose_request_was_refused_is_discarded_up_to_a_size(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_DISCARDED_BYTES", LARGE)
    size = 64 * LARGE
    with server.connect() as connection:
        connection.sendall(b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        assert send(connection, b"a" * size) < size


def test_a_client_that_does_not_read_is_dropped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_SECONDS", SHORT)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall((GET % b"/large" + b"\r\n") * 8)
        wait_until(lambda: server.app.begun > 0)
        wait_until(lambda: server.open == 0)


def test_beyond_the_bound_the_connection_that_waits_longest_makes_room(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 3)
    with contextlib.ExitStack() as opened:
        first, *others = (opened.enter_context(server.connect()) for _ in range(3))
        wait_until(lambda: server.open == 3)
        first.sendall(HEALTH)
        assert status(answer(first)) == 200
        new = opened.enter_context(server.connect())
        assert received(others[0]) == b""
        for each in (first, new, others[1]):
            each.sendall(HEALTH)
            assert status(answer(each)) == 200
        for each in (first, new, others[1]):
            each.sendall(GET % b"/slow" + b"\r\n")
        wait_until(lambda: server.app.begun == 7)
        refused = opened.enter_context(server.connect())
        assert status(received(refused)) == 503


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
"""Of Java's HttpClient, in each request to an http:// URL: an HTTP/2 server may switch the protocol."""


def posted(*headers: bytes, chunked: bool) -> bytes:
    """A POST of 5 bytes to /echo."""
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: 5\r\n"
    body = b"5\r\nhello\r\n0\r\n\r\n" if chunked else b"hello"
    return b"POST /echo HTTP/1.1\r\nHost: a\r\n" + b"".join(headers) + framing + b"\r\n" + body


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("pieces", [1, 7], ids=["at-once", "in-pieces"])
def test_an_offer_of_another_protocol_is_declined_and_the_request_answered(
    server: Server, chunked: bool, pieces: int
) -> None:
    """Several requests of one connection, each with a body."""
    requests = posted(OFFER, chunked=chunked) * 3 + HEALTH
    size = -(-len(requests) // pieces)
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(requests), size):
            connection.sendall(requests[start : start + size])
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 4:
            more = connection.recv(65_536)
            assert more, answers
            answers += more
    assert server.app.bodies == [5, 5, 5]
    assert not [name for headers in server.app.headers for name, _ in headers if name == b"upgrade"]


def test_a_request_with_an_offer_keeps_the_limits_of_a_request(server: Server) -> None:
    too_many = b"".join(b"X-%d: 1\r\n" % number for number in range(MOST_HEADERS - 2))
    with server.connect() as connection:
        send(connection, posted(OFFER, too_many, chunked=False))
        assert received(connection).startswith(b"HTTP/1.1 431")
    assert server.app.begun == 0


def test_an_answer_to_http_1_0_has_no_chunks_and_ends_with_its_connection(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = received(connection).partition(b"\r\n\r\n")
    assert status(head) == 200
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body == b"x" * LARGE


def test_a_stream_to_http_1_0_comes_in_parts(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
        seen = b""
        while not seen.endswith(b"first"):
            more = connection.recv(65_536)
            assert more, seen
            seen += more
        server.app.go_on.set()
        assert received(connection) == b"last"


def test_a_tunnel_is_no_offer(server: Server) -> None:
    """CONNECT has no body, whatever its headers say: what follows it is never read as a request."""
    with server.connect() as connection:
        connection.sendall(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n" + OFFER + b"\r\n" + HEALTH)
        answer(connection)
        connection.sendall(HEALTH)
        received(connection)
    assert server.app.begun == 0


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"OPTIONS", b"HEAD"])
def test_only_get_becomes_a_websocket(server: Server, monkeypatch: pytest.MonkeyPatch, method: bytes) -> None:
    monkeypatch.setattr(server._server.config, "ws_protocol_class", asyncio.Protocol)
    with server.connect() as connection:
        connection.sendall(method + (GET % b"/v1/realtime").removeprefix(b"GET") + UPGRADE + b"\r\n")
        assert status(received(connection)) == 400
    wait_until(lambda: server.open == 0)


def test_a_websocket_whose_head_can_not_be_read_is_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unread(asyncio.Protocol):
        """As the websocket's protocol of the images is after such a head; tests/engine has the real one."""

        def __init__(self, config: uvicorn.Config, **_: Any) -> None:
            assert not config.ws_per_message_deflate
            self.conn = SimpleNamespace(handshake_exc=ValueError())

    monkeypatch.setattr(server._server.config, "ws_protocol_class", Unread)
    with server.connect() as connection:
        connection.sendall(GET % b"/v1/realtime" + UPGRADE + b"\r\n")
        assert status(received(connection)) == 400


def test_a_websocket_is_handed_on_without_the_timer_of_heads(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[Any] = []

    class Websocket(asyncio.Protocol):
        def __init__(self, **_: Any) -> None: ...

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            handed.append(transport)

    monkeypatch.setattr(connections, "HEAD_SECONDS", SHORT)
    monkeypatch.setattr(server._server.config, "ws_protocol_class", Websocket)
    with server.connect() as connection:
        connection.sendall(GET % b"/v1/realtime" + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        wait_until(lambda: bool(handed))
        time.sleep(2 * SHORT)
        assert not handed[0].is_closing()


def begin_drain(server: Server, lame_duck_seconds: float) -> None:
    course = drain.drain_of_process().drain(lame_duck_seconds, PATIENCE_SECONDS)
    asyncio.run_coroutine_threadsafe(course, server.app.loop)
    wait_until(lambda: not drain.drain_of_process().ready)


def test_an_answer_during_a_drain_ends_its_connection(server: Server) -> None:
    with server.connect() as kept, server.connect() as busy:
        kept.sendall(HEALTH)
        assert b"connection: close" not in answer(kept)
        busy.sendall(GET % b"/late" + b"\r\n")
        wait_until(lambda: server.app.begun == 2)
        begin_drain(server, PATIENCE_SECONDS)
        kept.sendall(HEALTH)
        last = received(kept)
        assert (status(last), last.count(b"connection: close")) == (200, 1)
        server.app.go_on.set()
        last = received(busy)
        assert (status(last), last.count(b"connection: close")) == (200, 1)


def test_a_stream_that_began_before_the_drain_is_whole_and_its_connection_ends(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(GET % b"/stream" + b"\r\n")
        data = connection.recv(65_536)
        assert status(data) == 200
        begin_drain(server, PATIENCE_SECONDS)
        server.app.go_on.set()
        data += received(connection)
        assert data.endswith(b"last\r\n0\r\n\r\n")


def test_idle_connections_end_when_a_drained_replica_refuses_and_not_before(server: Server) -> None:
    with server.connect() as idle, server.connect() as new:
        idle.sendall(HEALTH)
        answer(idle)
        wait_until(lambda: server.open == 2)
        begin_drain(server, SHORT)
        assert server.open == 2
        assert not drain.drain_of_process().refuses
        assert (received(idle), received(new)) == (b"", b"")
        assert drain.drain_of_process().refuses


def test_a_request_that_has_arrived_but_was_not_read_is_answered(server: Server) -> None:
    with server.connect() as idle:
        idle.sendall(HEALTH)
        answer(idle)
        held, go_on = threading.Event(), threading.Event()

        def close_idle() -> None:
            held.set()
            go_on.wait(PATIENCE_SECONDS)
            for connection in list(server._server.server_state.connections):
                connection.shed(idle=True)  # type: ignore[union-attr]

        server.app.loop.call_soon_threadsafe(close_idle)
        assert held.wait(PATIENCE_SECONDS)
        idle.sendall(HEALTH)
        go_on.set()
        assert status(answer(idle)) == 200


def test_a_connection_has_an_age_at_which_its_client_is_asked_for_a_new_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "AGE_SECONDS", SHORT)
    with server.connect() as connection:
        last, answers = b"", 0
        until = time.monotonic() + PATIENCE_SECONDS
        while b"connection: close" not in last and time.monotonic() < until:
            connection.sendall(HEALTH)
            last = answer(connection)
            assert status(last) == 200
            answers += 1
        assert answers > 1
        assert connection.recv(1) == b""


def test_an_old_connection_that_is_idle_stays_open(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "AGE_SECONDS", 0.0)
    with server.connect() as connection:
        wait_until(lambda: server.open == 1)
        connection.settimeout(SHORT)
        with pytest.raises(TimeoutError):
            connection.recv(1)
