"""A stand-in for `vllm serve` on one node of a group, controlled by files in its directory.

    python -P tests/support/stand_in_engine.py DIRECTORY RANK PORT

It writes its process ids into `pids`, its own and that of a child. Rank 0 answers HTTP at 127.0.0.1:PORT: /health and
/ready, POST /work, which makes `working` and lasts until there is `finish`, and POST /drain, which lasts as long as
there is work. These files change what it does: `slow` (it does not listen yet), `sick` (/health answers 503),
`stubborn` (SIGTERM does nothing to both processes) and `crash` (it ends as on a full disk).
Environment: STAND_IN_ADDRESS is listened on instead of 127.0.0.1.
`-P` keeps Python from taking the file operator.py beside this one for its own module.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

POLL_SECONDS = 0.01
DIRECTORY = Path(sys.argv[1])
RANK, PORT = int(sys.argv[2]), int(sys.argv[3])


class Handler(BaseHTTPRequestHandler):
    """One request."""

    working = 0

    def do_GET(self) -> None:
        sick = self.path == "/health" and has("sick")
        self._answer(503 if sick else 200, {})

    def do_POST(self) -> None:
        begun = time.monotonic()
        if self.path == "/work":
            Handler.working += 1
            (DIRECTORY / "working").touch()
            wait_for("finish")
            (DIRECTORY / "working").unlink()
            Handler.working -= 1
            self._answer(200, {})
        elif self.path == "/drain":
            while Handler.working:
                time.sleep(POLL_SECONDS)
            self._answer(200, {"drained": True, "active": 0, "seconds": time.monotonic() - begun})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def has(name: str) -> bool:
    return (DIRECTORY / name).exists()


def wait_for(name: str) -> None:
    while not has(name):
        time.sleep(POLL_SECONDS)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None if has("stubborn") else os._exit(0))
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    written = DIRECTORY / "pids.new"
    written.write_text(f"{os.getpid()} {child}")
    written.rename(DIRECTORY / "pids")
    while has("slow"):
        time.sleep(POLL_SECONDS)
    if RANK == 0:
        address = os.environ.get("STAND_IN_ADDRESS", "127.0.0.1")
        ThreadingHTTPServer.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = ThreadingHTTPServer((address, PORT), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    wait_for("crash")
    (DIRECTORY / "crash").unlink()
    raise OSError(28, "No space left on device")


if __name__ == "__main__":
    main()
