"""Server-sent events: bytes in pieces of any size, whole messages out."""

from __future__ import annotations

DONE = b"[DONE]"
LONGEST_LINE = 1 << 20


class LineTooLong(ValueError):
    """A message of more than LONGEST_LINE bytes."""


class Events:
    """Returns the `data` of each message as soon as its line is complete. Comments (pings) are left out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The messages that this piece completes. A message of OpenAI's API is one line. Raises LineTooLong."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_LINE:
            raise LineTooLong
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
