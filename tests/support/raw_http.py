"""Raw HTTP requests that no client library would send, and the status of the answers."""

from __future__ import annotations

import re
import socket

END = "\r\n"
QUIET_SECONDS = 8
"""The server says nothing more after this, although it keeps the connection open."""
_FRAMING = ("content-length", "transfer-encoding")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


def request(
    target: str,
    *headers: str,
    method: str = "GET",
    version: str = "HTTP/1.1",
    host: str | None = "a",
    body: str = "",
) -> bytes:
    """One request; a body is JSON, and as long as it is unless `headers` say otherwise."""
    lines = [" ".join(part for part in (method, target, version) if part)]
    if host is not None:
        lines.append(f"Host: {host}")
    if body:
        lines.append("Content-Type: application/json")
        if not any(each.lower().startswith(_FRAMING) for each in headers):
            lines.append(f"Content-Length: {len(body)}")
    return END.join([*lines, *headers, "", body]).encode("latin-1")


def statuses(port: int, sent: bytes) -> list[int]:
    """Sends these bytes on a connection of their own; the statuses of all answers until the server closes it
    or says nothing more."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=QUIET_SECONDS) as connection:
        try:
            connection.sendall(sent)
            while data := connection.recv(65_536):
                received += data
        except (ConnectionError, TimeoutError):
            pass
    return [int(status) for status in _STATUS.findall(received)]
