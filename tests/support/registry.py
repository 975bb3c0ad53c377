"""A registry on this machine with one image under several names, each with its own failure.

It serves the blobs of an image that the node already has, so that a pull transfers only a manifest.
  missing:1   isn't there, until it is pushed
  locked:1    is given to who has a login
  foreign:1   is for another processor alone, until it is pushed
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from support.cluster import ROOT
from support.http_server import serving

FUNCTIONS = ROOT / "hack" / "cluster" / "lib" / "all.sh"
INDEX = "application/vnd.oci.image.index.v1+json"
USER, PASSWORD = "puller", "right"
OTHER = {"architecture": "s390x", "os": "linux"}
HERE = {"architecture": "amd64", "os": "linux"}


class Registry:
    """Made by ``serve_registry``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.pushed: set[str] = set()
        """Names that it gives by now."""

    def image(self, name: str) -> str:
        """The image of that name, as a pod names it."""
        return f"{self.address}/{name}:1"


@contextlib.contextmanager
def serve_registry(image: str) -> Iterator[Registry]:
    """A registry whose image is ``image``, which the node has."""
    store, digest = _node_has(image)
    blobs = store / "io.containerd.content.v1.content" / "blobs" / "sha256"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if parts == ["v2"]:
                self._answer(200, b"{}", "application/json")
                return
            _, name, what, reference = parts
            if name == "missing" and name not in registry.pushed:
                self._refuse(404, "MANIFEST_UNKNOWN")
            elif name == "locked" and not self.headers.get("Authorization"):
                self._refuse(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="registry"'})
            elif name == "foreign" and what == "manifests" and reference in ("1", _digest(self._index())):
                self._answer(200, self._index(), INDEX)
            else:
                found = blobs / (digest if reference == "1" else reference.removeprefix("sha256:"))
                if found.is_file():
                    content = found.read_bytes()
                    kind = json.loads(content).get("mediaType", "") if what == "manifests" else ""
                    self._answer(200, content, kind or "application/octet-stream")
                else:
                    self._refuse(404, "BLOB_UNKNOWN")

        def _index(self) -> bytes:
            manifest = blobs / digest
            kind = json.loads(manifest.read_bytes())["mediaType"]
            platform = HERE if "foreign" in registry.pushed else OTHER
            entry: dict[str, Any] = {"mediaType": kind, "digest": f"sha256:{digest}", "platform": platform}
            entry["size"] = manifest.stat().st_size
            return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()

        def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
            body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
            self._answer(status, body, "application/json", headers)

        def _answer(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            shown = {"Content-Type": kind, "Content-Length": str(len(body)), "Docker-Content-Digest": _digest(body)}
            for name, value in (shown | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with serving(Handler) as url:
        registry = Registry(url.replace("http://127.0.0.1", "localhost"))
        yield registry


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _node_has(image: str) -> tuple[Path, str]:
    """Where the node keeps blobs, and the digest of the manifest of the image."""
    script = f'. {shlex.quote(str(FUNCTIONS))}; echo "$store"; ctr images ls {shlex.quote(f"name=={image}")}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    store, _, *rows = done.stdout.splitlines()
    assert rows, f"the node has no {image}: run hack/cluster/images/build"
    return Path(store), rows[0].split()[2].removeprefix("sha256:")
