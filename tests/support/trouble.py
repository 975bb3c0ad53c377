"""Servers on this machine that are unavailable: they answer an error, one byte a second, or nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Event


@dataclass
class Trouble:
    """What a server does instead of answering."""

    kind: str = ""
    """A status; `slow` for one byte a second, `reset` for a closed connection, `redirects` for redirects without end;
    empty for none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the answer with the status."""
    body: bytes = b""
    """Body of the answer with the status."""
    paths: str = ""
    """Only paths that contain this."""
    seconds: float | None = None
    """How long it lasts since the first request; None for ever."""
    requests: list[str] = field(default_factory=list)
    """The paths that were asked for."""
    begun: float | None = None
    stopped: Event = field(default_factory=Event)

    def has(self, path: str) -> bool:
        """Whether this request gets it."""
        self.requests.append(path)
        if self.begun is None:
            self.begun = time.monotonic()
        over = self.seconds is not None and time.monotonic() > self.begun + self.seconds
        return bool(self.kind) and not over and self.paths in path


class TroubledHandler(BaseHTTPRequestHandler):
    """A handler whose server is unavailable now and then."""

    def make_trouble(self, trouble: Trouble) -> None:
        """Answers as the trouble has it."""
        match trouble.kind:
            case "slow":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while not trouble.stopped.wait(1):
                        self.wfile.write(b" ")
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
            case "redirects":
                self.answer(307, {"Location": f"{self.path.partition('?')[0]}?{len(trouble.requests)}"})
            case status:
                self.answer(int(status), trouble.headers, trouble.body)

    def answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Sends the whole answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
