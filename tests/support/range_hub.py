"""A hub on this machine that serves ranges of files and counts the bytes that it sends."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.http_server import serving
from support.trouble import Trouble, TroubledHandler

NAME = "org/model"
COMMIT = "c" * 40
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)")
BLOCK = 1 << 16


@dataclass
class RangeHub:
    """The hub's state; tests change it while it runs."""

    model: Path
    commit: str = COMMIT
    trouble: Trouble = field(default_factory=Trouble)
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 by name that the hub lists in place of the right one."""
    redirect: str = ""
    """Where requests of weights are sent; `{path}` is the path."""
    ignores_ranges: bool = False
    closes_after: int | None = None
    """Each connection is closed after so many bytes of weights."""
    buffer: int = 0
    """Size of the sockets' send buffers in bytes, so that what is sent was received; 0 for the system's."""
    authorizations: list[str] = field(default_factory=list)
    sent: int = 0
    """Bytes of weights that were sent."""
    url: str = ""
    on_sent: Callable[[int], None] = field(default=lambda _: None)
    """Called with the bytes of weights that were sent so far."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, more: int) -> None:
        with self._lock:
            self.sent += more
            self.on_sent(self.sent)

    def siblings(self) -> list[dict[str, Any]]:
        return [self._sibling(path) for path in sorted(self.model.rglob("*")) if path.is_file()]

    def _sibling(self, path: Path) -> dict[str, Any]:
        name, size = str(path.relative_to(self.model)), path.stat().st_size
        found: dict[str, Any] = {"rfilename": name, "size": size}
        if name.endswith(".safetensors"):
            return found | {"lfs": {"sha256": self.digests.get(name, digest(path)), "size": size}}
        return found | {"blobId": hashlib.sha1(b"blob %d\0" % size + path.read_bytes()).hexdigest()}


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def serve_range_hub(hub: RangeHub) -> Iterator[RangeHub]:
    """The hub at `hub.url`, until the end of the block."""

    class Handler(TroubledHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802 - the library's name
            hub.authorizations.append(self.headers.get("Authorization", ""))
            if hub.trouble.has(self.path):
                self.make_trouble(hub.trouble)
            elif self.path.startswith(f"/api/models/{NAME}"):
                listed = {"sha": hub.commit, "siblings": hub.siblings()}
                self.answer(200, {"Content-Type": "application/json"}, json.dumps(listed).encode())
            elif hub.redirect and "/resolve/" in self.path and self.path.endswith(".safetensors"):
                self.answer(302, {"Location": hub.redirect.format(path=self.path)})
            else:
                self.send_range(hub.model / self.path.rpartition(f"/{hub.commit}/")[2])

        def send_range(self, path: Path) -> None:
            if not path.is_file():
                self.answer(404, {"X-Error-Code": "EntryNotFound"})
                return
            size = path.stat().st_size
            asked = _RANGE.fullmatch(self.headers.get("Range", ""))
            if asked is None or hub.ignores_ranges:
                self.answer(200, {}, path.read_bytes())
                return
            if hub.buffer:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, hub.buffer)
            begin, end = int(asked[1]), min(int(asked[2]) + 1, size)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
            self.send_header("Content-Length", str(end - begin))
            self.end_headers()
            left = hub.closes_after
            with path.open("rb") as file:
                file.seek(begin)
                while begin < end:
                    part = file.read(min(BLOCK, end - begin))
                    try:
                        self.wfile.write(part)
                    except OSError:
                        self.close_connection = True
                        return
                    begin += len(part)
                    if path.name.endswith(".safetensors"):
                        hub.count(len(part))
                    if left is not None:
                        left -= len(part)
                        if left <= 0:
                            self.close_connection = True
                            self.connection.close()
                            return

    with serving(Handler) as url:
        hub.url = url
        try:
            yield hub
        finally:
            hub.trouble.stopped.set()
