"""The gateway's real NGINX with its Lua, in front of stand-ins for replicas."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import pytest

from llmservice_operator.gateway.configuration import LUA, MODULES, Configuration, render
from llmservice_operator.gateway.routes import BatchesAddress, ReadyReplica, ServedService, document
from support.cluster import wait_until
from support.ports import free_port

NAMESPACE = "team-a"
NGINX = "/usr/sbin/nginx"
NEEDED = "nginx, libnginx-mod-http-lua, lua-resty-core and lua-cjson"
ANSWER_SECONDS = 30
HOLD_SECONDS = 600
_OUTSTANDING = re.compile(
    r'llmservice_gateway_outstanding_requests\{namespace="(?P<namespace>[^"]*)",service="(?P<service>[^"]*)",pod="(?P<pod>[^"]*)"\}'
)


class Routed(Protocol):
    """What a gateway can be given as a replica."""

    port: int
    revision: str


@dataclass
class Received:
    """A request that a replica got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Replica:
    """A stand-in for an engine pod. ``behavior`` says what it does with a POST:

    answer: 200 with JSON; compute: the head of a stream, whose first event waits for ``finish``; hold: the second event
    waits for it; refuse: 503; reset: ends the connection without an answer; cut: ends it after the first event; fail:
    500; error: a stream whose second event is an error.
    """

    def __init__(self, keys: Sequence[str] | None = None, name: str = "replica") -> None:
        self.behavior = "answer"
        self.revision = ""
        self.keys = keys
        self.name = name
        self.received: list[Received] = []
        self.headers: Mapping[str, str] = {}
        """Further headers of its answers."""
        self.failing = 0
        """Of so many POSTs that it would answer with 200 one fails, beginning with the first; 0: none."""
        self.delay = 0.0
        """Seconds before it answers a POST."""
        self.finish = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"replica": self}))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def posts(self) -> list[Received]:
        """Requests for work."""
        return [each for each in self.received if each.method == "POST"]

    def stop(self) -> None:
        """Refuses connections from now on."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_: object) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    replica: Replica
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._receive()
        self._answer(200, {"object": "list", "data": []}) if self._accepted() else self._refuse()

    def do_HEAD(self) -> None:
        self._receive()
        self.send_response(405 if self._accepted() else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self._receive()
        behavior = self.replica.behavior
        if behavior == "answer" and self.replica.failing and (len(self.replica.posts) - 1) % self.replica.failing == 0:
            behavior = "fail"
        time.sleep(self.replica.delay)
        if not self._accepted():
            self._refuse()
        elif behavior == "answer":
            self._answer(200, {"replica": self.replica.name})
        elif behavior == "refuse":
            self._answer(503, {"error": {"message": "draining"}})
        elif behavior == "fail":
            self._answer(500, {"error": {"message": "failed"}})
        elif behavior == "reset":
            self._end()
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if behavior == "compute":
                self.replica.finish.wait(HOLD_SECONDS)
            self._chunk(b"data: first\n\n")
            if behavior == "cut":
                self._end()
                return
            if behavior == "error":
                self._chunk(b'data: {"error": {"message": "the engine died", "code": 500}}\n\n')
            else:
                self.replica.finish.wait(HOLD_SECONDS)
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")

    def _receive(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.replica.received.append(Received(self.command, self.path, dict(self.headers), body))

    def _accepted(self) -> bool:
        keys = self.replica.keys
        return keys is None or self.headers.get("Authorization", "").removeprefix("Bearer ") in keys

    def _refuse(self) -> None:
        self._answer(401, {"error": {"message": "no valid key"}})

    def _answer(self, status: int, answer: object) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in self.replica.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Answer:
    """An answer of the gateway."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error."""
        return str(self.json["error"]["code"])


@dataclass
class Gateway:
    """A running gateway."""

    port: int
    metrics_port: int
    directory: Path
    process: subprocess.Popen[bytes]
    _services: dict[ServedService, Sequence[Routed]] = field(default_factory=dict)

    def route(self, services: Mapping[ServedService, Sequence[Routed]], batches: int = 0) -> None:
        """Makes these the services, each with its replicas. ``batches``: port of files and batches."""
        self._services = dict(services)
        replicas = [
            ReadyReplica(
                service.namespace, service.name, f"{service.name}-{number}", "127.0.0.1", each.port, each.revision
            )
            for service, found in services.items()
            for number, each in enumerate(found)
        ]
        address = BatchesAddress("127.0.0.1", batches) if batches else None
        status, said = self.post_routes(json.dumps(document(services, replicas, address)).encode())
        assert status == 204, said

    def post_routes(self, text: bytes) -> tuple[int, bytes]:
        """Posts a document, as the controller does."""
        return self._ask_control("/routes", text)

    def control(self, path: str, body: bytes | None = None) -> bytes:
        """The answer to a question of the controller, or to what it says."""
        status, said = self._ask_control(path, body)
        assert status in (200, 204), said
        return said

    def _ask_control(self, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("control")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.directory / "control.sock"))
        with contextlib.closing(connection):
            connection.request("GET" if body is None else "POST", path, body)
            response = connection.getresponse()
            return response.status, response.read()

    def connect(self) -> http.client.HTTPConnection:
        """A connection to it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        method: str = "",
        key: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; a body that is no bytes is sent as JSON."""
        with contextlib.closing(self.connect()) as connection:
            response = begin(connection, path, body, method=method, key=key, headers=headers)
            return Answer(response.status, dict(response.headers), response.read())

    def chat(
        self, model: str | None, text: str = "Hello", *, key: str = "", path: str = "/v1/chat/completions"
    ) -> Answer:
        """One chat."""
        return self.ask(path, chat(model, text), key=key)

    def metrics(self) -> dict[str, float]:
        """Its metrics by series."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in found}

    def in_rotation(self, namespace: str) -> set[tuple[str, str]]:
        """Services of a namespace with the pods that get requests."""
        labels = (re.fullmatch(_OUTSTANDING, name) for name in self.metrics())
        return {(found["service"], found["pod"]) for found in labels if found and found["namespace"] == namespace}

    def outstanding(self, service: str = "chat") -> list[float]:
        """Outstanding requests of each replica."""
        return self._of_replicas("outstanding_requests", service)

    def uncomputed(self, service: str = "chat") -> list[float]:
        """Bytes of prompts that each replica has to compute."""
        return self._of_replicas("uncomputed_prompt_bytes", service)

    def _of_replicas(self, name: str, service: str) -> list[float]:
        start = f'llmservice_gateway_{name}{{namespace="{NAMESPACE}",service="{service}"'
        return [value for series, value in sorted(self.metrics().items()) if series.startswith(start)]

    def wait_for_rest(self) -> None:
        """Returns once no request is outstanding: NGINX ends a request after its client has the answer."""
        wait_until(lambda: not any(self.outstanding() + self.uncomputed()), "no request is outstanding", every=0.02)

    def log(self, lines: int) -> list[dict[str, Any]]:
        """The lines of its access log, once there are so many."""
        path = self.directory / "access.log"
        wait_until(lambda: len(path.read_text().splitlines()) >= lines, f"{lines} lines in the access log", every=0.02)
        return [json.loads(line) for line in path.read_text().splitlines()]

    def reload(self) -> None:
        """Reloads it, and waits until new workers answer."""
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: set(self.workers()) - set(before), "NGINX has new workers", timeout=30)

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in children.split()]


def chat(model: str | None, text: str = "Hello") -> dict[str, Any]:
    """The body of a chat."""
    named = {} if model is None else {"model": model}
    return {**named, "messages": [{"role": "user", "content": text}], "stream": True}


def begin(
    connection: http.client.HTTPConnection,
    path: str,
    body: object = None,
    *,
    method: str = "",
    key: str = "",
    headers: Mapping[str, str] | None = None,
) -> http.client.HTTPResponse:
    """Sends a request; the answer's head."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    if key:
        sent["Authorization"] = f"Bearer {key}"
    connection.request(method or ("GET" if data is None else "POST"), path, data, sent)
    return connection.getresponse()


def service(
    name: str = "chat", *models: str, namespace: str = NAMESPACE, created: int = 1, per_key: bool = False
) -> ServedService:
    """A service."""
    return ServedService(namespace, name, created, models or (name,), per_key)


def configuration(directory: Path, **settings: Any) -> Configuration:
    """The configuration of a test's gateway."""
    user = "root" if os.geteuid() == 0 else ""
    made = Configuration(
        directory=directory,
        namespace=NAMESPACE,
        address="127.0.0.1",
        port=free_port(),
        metrics_port=free_port(),
        connections=4096,
        affinity_megabytes=4,
        user=user,
    )
    return replace(made, **settings)


@contextlib.contextmanager
def nginx_gateway(directory: Path, **settings: Any) -> Iterator[Gateway]:
    """A gateway without routes."""
    if shutil.which(NGINX) is None:
        pytest.fail(f"nginx is not on this machine: apt-get install {NEEDED}")
    made = configuration(directory, **settings)
    directory.mkdir(exist_ok=True)
    file = directory / "nginx.conf"
    file.write_text(render(made))
    with (directory / "access.log").open("wb") as log, (directory / "error.log").open("wb") as errors:
        process = subprocess.Popen([NGINX, "-p", directory, "-e", "stderr", "-c", file], stdout=log, stderr=errors)
        gateway = Gateway(made.port, made.metrics_port, directory, process)
        try:
            wait_until(
                lambda: (directory / "control.sock").exists() and gateway.workers(),
                lambda: f"NGINX runs: {(directory / 'error.log').read_text()}",
                timeout=30,
            )
            yield gateway
        finally:
            process.terminate()
            process.wait()


_SCRIPT = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off; pid {directory}/pid; error_log stderr; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
  access_log off;
  lua_package_path "{lua}/?.lua;/usr/share/lua/5.1/?.lua;;";
  lua_package_cpath "/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;/usr/lib/aarch64-linux-gnu/lua/5.1/?.so;;";
  {memory}
  server {{
    listen unix:{directory}/socket;
    location / {{ content_by_lua_file {directory}/script.lua; }}
  }}
}}
"""
_MEMORY = (
    "routes",
    "load",
    "affinity",
    "failures",
    "accepted",
    "counters",
    "split",
    "times",
    "state",
    "clients",
    "starting",
    "wanted",
    "verdicts",
)


def run_lua(directory: Path, script: str, **memory: str) -> str:
    """What a script prints in an NGINX of its own, with the gateway's modules. ``memory``: sizes of shared
    dictionaries."""
    sizes = dict.fromkeys(_MEMORY, "1m") | memory
    (directory / "script.lua").write_text(script)
    file = directory / "nginx.conf"
    file.write_text(
        _SCRIPT.format(
            modules=MODULES,
            lua=LUA,
            directory=directory,
            user="user root;" if os.geteuid() == 0 else "",
            memory="\n  ".join(f"lua_shared_dict {name} {size};" for name, size in sizes.items()),
        )
    )
    process = subprocess.Popen([NGINX, "-p", directory, "-e", "stderr", "-c", file], stderr=subprocess.PIPE)
    connection = http.client.HTTPConnection("script", timeout=ANSWER_SECONDS)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(ANSWER_SECONDS)
        path = str(directory / "socket")
        wait_until(lambda: connection.sock.connect_ex(path) == 0, "NGINX answers", every=0.02)
        connection.request("GET", "/")
        response = connection.getresponse()
        said = response.read().decode()
    finally:
        connection.close()
        process.terminate()
        errors = process.communicate()[1].decode()
    assert response.status == 200, errors
    return said
