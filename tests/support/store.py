"""An S3 store on this machine: moto's server, in its own environment."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from support.cache import CACHE

SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
sys.stdin.read()
server.stop()
"""
"""Until its stdin is closed."""


@contextmanager
def serve_store(bucket: str, objects: Mapping[str, bytes]) -> Iterator[str]:
    """The store's address; it has one bucket with these objects by key. The test fails, saying how to make it, where
    the environment is not there."""
    python = CACHE / "venvs" / "moto" / "bin" / "python"
    if not python.exists():
        pytest.fail(f"moto is not on this machine ({python} is missing): run hack/venv/moto")
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([python, "-c", SERVE], text=True, **streams) as server:
        assert server.stdin is not None and server.stdout is not None
        address = server.stdout.readline().strip()
        try:
            for path, content in {bucket: b"", **{f"{bucket}/{key}": each for key, each in objects.items()}}.items():
                plain = {"Content-Type": "application/octet-stream"}
                request = urllib.request.Request(f"{address}/{path}", content, plain, method="PUT")
                urllib.request.urlopen(request, timeout=10).close()
            yield address
        finally:
            server.stdin.close()


@contextmanager
def serve_closed_store() -> Iterator[str]:
    """The address of a store that requires a login."""
    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

    class Closed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Closed) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
