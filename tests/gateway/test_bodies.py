"""Bodies of requests: how long they may take, and how many bytes the gateway holds."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from llmservice_operator.gateway.configuration import LUA, MODULES
from support.cluster import wait_until
from support.nginx_gateway import NGINX, Gateway, Replica, nginx_gateway, service
from support.ports import free_port

Make = Callable[..., Replica]
SECONDS = 0.3
"""Time for a body of any size."""
HELD = "llmservice_gateway_held_body_bytes"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that gives each byte of a body one more second."""
    with nginx_gateway(tmp_path_factory.mktemp("gateway"), body_seconds=SECONDS, body_rate=1) as made:
        yield made


def begin(port: int, *framing: str) -> socket.socket:
    """Sends the head of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = ["POST /v1/completions HTTP/1.1", "Host: a", "Content-Type: application/json", *framing, "", ""]
    connection.sendall("\r\n".join(head).encode())
    return connection


def answer(connection: socket.socket) -> bytes:
    """All that comes until the gateway closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65_536):
            received += data
    return received


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_refused_and_holds_nothing(gateway: Gateway, replica: Make, framing: str) -> None:
    only = replica()
    gateway.route({service(): [only]})
    with begin(gateway.port, framing) as slow:
        found = answer(slow)
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in found
    assert b"Connection: close" in found
    assert gateway.metrics()[HELD] == 0
    assert not only.received


def test_one_byte_at_a_time_is_too_slow(tmp_path: Path, replica: Make) -> None:
    with nginx_gateway(tmp_path / "gateway", body_seconds=SECONDS, body_rate=2**30) as gateway:
        gateway.route({service(): [replica()]})
        sent = 0
        with begin(gateway.port, "Content-Length: 1000000") as slow:
            slow.settimeout(0.01)
            received = b""
            while not received and sent < 1_000_000:
                slow.sendall(b" ")
                sent += 1
                with contextlib.suppress(TimeoutError):
                    received = slow.recv(65_536)
        assert received.startswith(b"HTTP/1.1 408 ")
        assert sent < 1_000_000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_more_time_for_each_byte_that_has_come(gateway: Gateway, replica: Make, chunked: bool) -> None:
    only = replica()
    gateway.route({service(): [only]})
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 20000"
    with begin(gateway.port, framing) as first:
        first.sendall(b"4e20\r\n" * chunked + b" " * 19_999)
        wait_until(lambda: gateway.metrics()[HELD] > 0, "its body is held", every=0.02)
        for _ in range(2):
            with begin(gateway.port, "Content-Length: 10") as later:
                assert answer(later).startswith(b"HTTP/1.1 408 ")
        first.sendall(b" " + b"\r\n0\r\n\r\n" * chunked)
        assert first.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert [len(each.body) for each in only.posts] == [20_000]
    wait_until(lambda: gateway.metrics()[HELD] == 0, "no body is held", every=0.02)


def test_what_a_worker_held_that_died_no_longer_counts(own_gateway: Gateway) -> None:
    own_gateway.route({service(): []})
    with begin(own_gateway.port, "Content-Length: 100000"):
        wait_until(lambda: own_gateway.metrics()[HELD] == 100_000, "its body is held", every=0.02)
        for each in own_gateway.workers():
            os.kill(each, signal.SIGKILL)
        wait_until(lambda: own_gateway.metrics()[HELD] == 0, "no body is held", every=0.1)


COUNTING = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off; pid {directory}/pid; error_log stderr; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
  access_log off;
  lua_package_path "{lua}/?.lua;/usr/share/lua/5.1/?.lua;;";
  lua_shared_dict small 32k;
  server {{
    listen 127.0.0.1:{port};
    location / {{ content_by_lua_block {{
      local made = require("counts").new(ngx.shared.small, "x")
      local refused = 0
      for number = 1, 1000 do
        if not made:add("name-" .. number, 7) then refused = refused + 1 end
      end
      local kept = 0
      for number = 1, 1000 do
        if made:get("name-" .. number) == 7 then kept = kept + 1 end
      end
      for number = 1, kept do made:add("name-" .. number, -7) end
      made:tidy(function(name) return name == "name-1" end)
      ngx.say(refused, " ", kept, " ", #ngx.shared.small:get_keys(0), " ", made:add("name-1", 1))
    }} }}
  }}
}}
"""


def test_a_count_for_which_there_is_no_memory_is_refused_and_none_is_lost(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    file.write_text(COUNTING.format(modules=MODULES, lua=LUA, port=port, directory=tmp_path, user=user))
    process = subprocess.Popen([NGINX, "-p", tmp_path, "-e", "stderr", "-c", file], stderr=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "pid").exists, "NGINX runs", every=0.02)
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
            refused, kept, keys, one = map(int, page.read().split())
    finally:
        process.terminate()
        process.wait()
    assert refused > 0
    assert kept > 0
    assert refused + kept == 1000
    assert (keys, one) == (2, 1)
