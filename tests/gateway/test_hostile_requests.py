"""Requests that gateways and servers have read differently, through NGINX to the HTTP server of a pod.

Whatever is sent: each request that reaches an application is one that its client meant, and the model that the
application reads is one of the service that the gateway chose.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.cluster import wait_until
from support.engine import ROOT
from support.hostile_http import Hostile, hostile_requests
from support.nginx_gateway import Gateway, nginx_gateway, service
from support.ports import free_port
from support.raw_http import request
from support.web import answers

CASES = hostile_requests()
SCRIPT = ROOT / "tests" / "support" / "front_server.py"
LAST = request("/namespaces/last/v1/x", "Connection: close")
"""Sent after each, so that the connection ends."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d) ")


@dataclass
class Pod:
    """The HTTP server of a pod."""

    port: int
    file: Path
    revision: str = ""
    read: int = 0

    def new(self) -> list[dict[str, Any]]:
        """Requests that reached the application since the last call."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        found, self.read = lines[self.read :], len(lines)
        # The gateway's own question: does the key count here?
        return [each for each in map(json.loads, found) if (each["method"], each["path"]) != ("HEAD", "/v1/models")]


@contextlib.contextmanager
def pod(directory: Path, name: str) -> Iterator[Pod]:
    made = Pod(free_port(), directory / f"{name}.json")
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", SCRIPT, str(made.port), made.file], env=environ, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{made.port}/health"), "the pod answers", timeout=60)
        made.new()
        yield made
    finally:
        process.terminate()
        process.wait()


@dataclass
class World:
    """A gateway with the services `one` and `two`, which serve models of these names."""

    gateway: Gateway
    pods: dict[str, Pod]

    def send(self, sent: bytes) -> list[int]:
        """The statuses of all answers but that to LAST."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=30) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(sent + LAST)
            with contextlib.suppress(OSError):
                while data := connection.recv(65_536):
                    received += data
                    if b"\r\nConnection: close\r\n" in received:
                        connection.shutdown(socket.SHUT_WR)
        found = [int(each) for each in _STATUS.findall(received)]
        return found[:-1] if b"of namespace last is served" in received else found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """It; bodies have little time and room."""
    directory = tmp_path_factory.mktemp("hostile")
    limits = {"body_seconds": 0.3, "body_bytes": 2**20}
    with (
        nginx_gateway(directory / "gateway", **limits) as gateway,
        pod(directory, "one") as one,
        pod(directory, "two") as two,
    ):
        pods = {"one": one, "two": two}
        gateway.route({service(name): [each] for name, each in pods.items()})
        yield World(gateway, pods)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_reaches_a_pod_is_what_its_client_meant(world: World, case: Hostile) -> None:
    for each in world.pods.values():
        each.new()
    statuses = world.send(case.sent)
    reached = [(name, each) for name, one in world.pods.items() for each in one.new()]
    assert sorted(name for name, _ in reached) == sorted(name for name in case.reached if name in world.pods)
    assert all(each["model"] in (name, None) for name, each in reached), reached
    if case.reached:
        assert [each == 200 for each in statuses] == [name in world.pods for name in case.reached]
    else:
        assert len(statuses) <= 1
        assert all(400 <= each < 600 for each in statuses)


def test_no_header_of_one_client_changes_what_others_are_told(world: World) -> None:
    large = [f"X-{number}: {'a' * 8000}" for number in range(6)]
    refused = ("Content-Encoding: gzip", "Connection: Upgrade", "Upgrade: websocket", "Expect: x", "Range: bytes=9-")
    world.send(request("/v1/models", *large))
    for each in refused:
        world.send(request("/v1/models", each))
    listed = world.gateway.ask("/v1/models").json["data"]
    assert [each["id"] for each in listed] == ["one", "two"]


def test_there_are_many() -> None:
    assert len(CASES) > 200
    assert len(CASES) == len({each.sent for each in CASES.values()})
