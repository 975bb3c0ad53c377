"""hack/load.py: as many requests as asked for and no more, and it always ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.cluster import wait_until

LOAD = Path(__file__).parents[3] / "hack" / "load.py"


class Service(ThreadingHTTPServer):
    """Answers when ``open`` is set, and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.open = threading.Event()
        self.lock = threading.Lock()
        self.in_flight = self.most = self.answered = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.in_flight += 1
            self.server.most = max(self.server.most, self.server.in_flight)
        self.server.open.wait(30)
        with self.server.lock:
            self.server.in_flight -= 1
            self.server.answered += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        made.open.set()
        made.shutdown()


def start(url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(LOAD), url, "--model", "chat", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_so_many_in_flight_and_no_more_until_the_time_is_over(service: Service) -> None:
    service.open.set()
    load = start(service.url, "--in-flight", "3", "--seconds", "0.4")
    words, _ = load.communicate(timeout=20)
    assert load.returncode == 0
    assert service.most <= 3 < service.answered
    assert "0 failures" in words


def test_bursts_leave_pauses_between_them(service: Service) -> None:
    service.open.set()
    load = start(service.url, "--in-flight", "5", "--every", "1", "--seconds", "1.6")
    words, _ = load.communicate(timeout=20)
    assert "10 answers" in words, "one burst at once, one after the pause"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_requests_wait_for_their_answer(service: Service, number: int) -> None:
    load = start(service.url, "--in-flight", "4", "--seconds", "600")
    wait_until(lambda: service.in_flight == 4, "four requests wait")
    load.send_signal(number)
    words, _ = load.communicate(timeout=10)
    assert "0 answers" in words


def test_where_nobody_answers_it_says_why_and_fails() -> None:
    load = start("http://127.0.0.1:1", "--seconds", "0.5")
    words, _ = load.communicate(timeout=20)
    assert load.returncode == 1
    assert "Connection refused" in words


@pytest.mark.parametrize(
    "wrong", [["--every", "90"], ["--seconds", "1e9"], ["--seconds", "0"], ["--in-flight", "100000"]]
)
def test_a_load_without_bounds_is_refused(wrong: list[str]) -> None:
    load = start("http://127.0.0.1:1", *wrong)
    words, _ = load.communicate(timeout=20)
    assert load.returncode == 2
    assert wrong[0] in words
