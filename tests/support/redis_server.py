"""A Redis for one test: Debian's redis-server on a free loopback port, without persistence."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from support.ports import free_port

START_SECONDS = 20


class RedisServer:
    """One server; it can be killed, started again on the same port, and made to hang. A context manager."""

    def __init__(self, directory: Path, *options: str, tls: bool = False) -> None:
        """`options` are of redis-server's command line; with `tls` they have to name the certificates."""
        self.program = shutil.which("redis-server") or pytest.fail(
            "redis-server is not on this machine: apt-get install redis-server"
        )
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        ports = ("--port", "0", "--tls-port", str(self.port)) if tls else ("--port", str(self.port))
        self._options = (*ports, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *options)
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns once it listens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, *self._options, "--dir", str(self.directory)], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"redis-server did not start:\n{(self.directory / 'redis.log').read_text()[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Ends it at once; what it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """From now on it takes connections and answers nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends `hang`."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str | int) -> object:
        """The reply to one command of the administrator."""
        with Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)

    def _listens(self) -> bool:
        if self._tls:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0
        try:
            return bool(self.ask("PING"))
        except RedisError:
            return False
