"""Server-sent events as they come: bytes in pieces of any size, whole messages out."""

from __future__ import annotations

DONE = b"[DONE]"


class Events:
    """Gives the `data` of each message as soon as its line is whole. Comments (pings) are left out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """What this piece completes. A message of OpenAI's API is one line."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
