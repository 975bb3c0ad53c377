"""A stand-in for a cloud's metadata service, which gives the role of the node to every client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.http_server import serving

_ROLE = {
    "Code": "Success",
    "Type": "AWS-HMAC",
    "AccessKeyId": "NODE-ROLE",
    "SecretAccessKey": "secret",
    "Token": "token",
    "Expiration": "2099-01-01T00:00:00Z",
}


@dataclass
class MetadataService:
    """Where it listens, and what it was asked for."""

    address: str
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve_metadata_service() -> Iterator[MetadataService]:
    """On this machine, as EC2 has it."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer("session-token")

        def do_GET(self) -> None:
            last = self.path.rstrip("/").rpartition("/")[2]
            self._answer("role" if last == "security-credentials" else json.dumps(_ROLE))

        def _answer(self, text: str) -> None:
            service.requests.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as url:
        service = MetadataService(url)
        yield service
