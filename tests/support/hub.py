"""A hub on this machine with one public and one gated repository; all others are unknown to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

COMMIT = "0" * 39 + "1"
PUBLIC = "org/tiny"
GATED = "org/gated"


@contextmanager
def serve_hub(model: Path) -> Iterator[str]:
    """The hub's address; `model` is what PUBLIC holds, at every revision."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].removeprefix("/api/models").strip("/")
            if path.startswith(GATED):
                self.answer(403, {"X-Error-Code": "GatedRepo"})
            elif not path.startswith(PUBLIC):
                self.answer(404, {"X-Error-Code": "RepoNotFound"})
            elif "/resolve/" in path:
                self.send_file(model / path.rpartition("/")[2])
            else:
                self.answer(200, {"Content-Type": "application/json"}, json.dumps(description(model)).encode())

        def send_file(self, file: Path) -> None:
            if not file.is_file():
                self.answer(404, {"X-Error-Code": "EntryNotFound"})
                return
            content = file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.answer(200, {"ETag": etag, "X-Repo-Commit": COMMIT}, content)

        def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def description(model: Path) -> dict[str, Any]:
    """What a hub's API says about a repository."""
    files = [{"rfilename": file.name, "size": file.stat().st_size} for file in sorted(model.iterdir())]
    return {"id": PUBLIC, "modelId": PUBLIC, "sha": COMMIT, "private": False, "siblings": files, "tags": []}
