"""One line for each request on standard error, as JSON or as key=value, and the other log lines of the gateway.

A line holds ids, a route's pattern, numbers and constants: nothing of a prompt, an answer or a key, and no path that a
client made up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from pydantic_core import to_json


@dataclass(frozen=True, slots=True)
class Line:
    """The log line of one request. None and empty fields are left out."""

    request_id: str
    key_id: str
    tier: str
    method: str
    route: str
    """The pattern of the route table."""
    status: int
    seconds: float
    ttft_seconds: float | None = None
    """To the first part of the answer's body."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reason: str = ""
    """Why it was refused, or did not end as it should."""

    def fields(self) -> dict[str, str | int | float]:
        """The fields of a line, in order."""
        given: dict[str, str | int | float | None] = {
            "request_id": self.request_id,
            "key_id": self.key_id,
            "tier": self.tier,
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "seconds": round(self.seconds, 6),
            "ttft_seconds": None if self.ttft_seconds is None else round(self.ttft_seconds, 6),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "reason": self.reason,
        }
        return {name: value for name, value in given.items() if value is not None and value != ""}


class Log:
    """Writes to a stream; if that fails, the request goes on."""

    def __init__(self, stream: TextIO, as_json: bool, now: Callable[[], float]) -> None:
        """`now`: seconds since the epoch."""
        self._stream = stream
        self._as_json = as_json
        self._now = now

    def request(self, line: Line) -> None:
        """The line of a request that has ended."""
        fields = line.fields()
        if self._as_json:
            self._write_json({"time": self._time(), "event": "request"} | fields)
        else:
            self._write(f"llmservice: {' '.join(f'{name}={value}' for name, value in fields.items())}")

    def say(self, text: str) -> None:
        """A sentence for people."""
        if self._as_json:
            self._write_json({"time": self._time(), "event": "message", "message": text})
        else:
            self._write(f"llmservice: {text}")

    def _time(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds")

    def _write_json(self, fields: Mapping[str, str | int | float]) -> None:
        self._write(to_json(fields).decode())

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


class Wordless(logging.Filter):
    """Keeps vLLM's HTTP server from logging websockets, whose lines the gateway writes itself.

    Its own have the path and query that a client made up, a key among them perhaps, and each websocket that was refused
    is an error to it.
    """

    NAME = "uvicorn.error"
    """Of the logger that this is for."""
    BEGINNINGS = ('%s - "WebSocket ', "ASGI callable returned without completing handshake")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        return not str(record.msg).startswith(self.BEGINNINGS)
