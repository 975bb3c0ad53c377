"""An S3 store on this machine: moto's server, in its own environment."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from support.cache import CACHE
from support.http_server import serving
from support.trouble import Trouble, TroubledHandler

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
    # Whatever host a client names: the bucket is in the path.
    environ = os.environ | {"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}
    with subprocess.Popen([python, "-c", SERVE], text=True, env=environ, **streams) as server:
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

    with serving(Closed) as url:
        yield url


@contextmanager
def troubled(store: str, trouble: Trouble) -> Iterator[str]:
    """The address of a store that gives what the store at an address gives, unless it is in trouble."""

    class Front(TroubledHandler):
        def do_GET(self) -> None:  # noqa: N802 - the library's name
            if trouble.has(self.path):
                self.make_trouble(trouble)
                return
            signed = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            try:
                with urllib.request.urlopen(urllib.request.Request(f"{store}{self.path}", headers=signed)) as answer:
                    self.answer(answer.status, {"Content-Type": answer.headers["Content-Type"]}, answer.read())
            except urllib.error.HTTPError as error:
                self.answer(error.code, {"Content-Type": "application/xml"}, error.read())

    with serving(Front) as url:
        try:
            yield url
        finally:
            trouble.stopped.set()
