"""The preStop hook asks the engine to drain, and reports the result in one sentence."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from llmservice_runtime.launcher import pre_stop
from llmservice_runtime.launcher.pre_stop import DrainRequest
from llmservice_runtime.launcher.settings import read_settings


@contextmanager
def engine(status: int, body: bytes) -> Iterator[tuple[int, list[str]]]:
    """The port of an engine that answers so, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "reported"),
    [
        (200, {"drained": True, "active": 0, "seconds": 7.04}, "drained in 7.0 s: no request is left."),
        (200, {"drained": False, "active": 1, "seconds": 35}, "1 request still ran after 35.0 s and will be cut."),
        (200, {"drained": False, "active": 9, "seconds": 35}, "9 requests still ran after 35.0 s and will be cut."),
        (404, {}, "the engine can't drain: POST /drain was answered with 404."),
        (200, [], "the engine can't drain: POST /drain was answered with something else than a report."),
    ],
)
def test_the_outcome_is_a_sentence(status: int, body: object, reported: str) -> None:
    with engine(status, json.dumps(body).encode()) as (port, asked):
        assert DrainRequest(port, 1).run() == reported
    assert asked == ["/drain"]


def test_an_engine_that_still_loads_has_nothing_to_drain() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        reported = DrainRequest(bound.getsockname()[1], 60).run()
    assert reported == "nothing to drain: the engine takes no requests yet, or no more."


def test_an_engine_that_hangs_is_waited_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pre_stop, "SLACK_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reported = DrainRequest(silent.getsockname()[1], 0.1).run()
    assert reported == "the engine did not answer within 0.2 s that it is drained."


def test_an_engine_that_dies_meanwhile_is_waited_for_no_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as dying:

        def hang_up() -> None:
            connection, _ = dying.accept()
            connection.recv(1)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        reported = DrainRequest(dying.getsockname()[1], 60).run()
        thread.join()
    assert reported.startswith("the engine went away while it drained: ")


def test_it_is_asked_at_its_port_for_as_long_as_the_settings_say() -> None:
    settings = read_settings(
        {"MODEL_NAME": "/models/tiny", "PORT": "9000", "LAME_DUCK_SECONDS": "7", "DRAIN_SECONDS": "120"}
    )
    assert DrainRequest.of(settings) == DrainRequest(9000, 127)
