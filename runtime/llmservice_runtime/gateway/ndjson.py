"""An answer in JSON lines, for clients that ask for `application/x-ndjson`: one line for each event of an event stream.

The engine streams server-sent events only. What follows here is true of any split of them into chunks: each event with
data becomes one line, comments and the closing `[DONE]` become nothing, an event that is cut off by the end of the
stream is left out, as the standard of server-sent events has it. Answers that are no event stream pass unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmservice_runtime.gateway.asgi import Headers, Message

MEDIA_TYPE = b"application/x-ndjson"
_EVENTS = b"text/event-stream"
_DONE = b"[DONE]"


def wants_lines(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request's Accept header names JSON lines, and not with q=0."""
    return any(
        _accepts_lines(media_range)
        for name, value in headers
        if name.lower() == b"accept" and b"ndjson" in value.lower()
        for media_range in value.lower().split(b",")
    )


def _accepts_lines(media_range: bytes) -> bool:
    kind, *parameters = (part.strip() for part in media_range.split(b";"))
    return kind == MEDIA_TYPE and not any(_is_zero(parameter) for parameter in parameters)


def _is_zero(parameter: bytes) -> bool:
    name, _, value = parameter.partition(b"=")
    return name.strip() == b"q" and not value.strip().strip(b"0.")


class Lines:
    """Turns the messages of one answer; to be called with each in its order."""

    def __init__(self) -> None:
        self._converts = False
        self._rest = b""

    def start(self, message: Message) -> Message:
        """The answer's head, with the other media type if its body is an event stream."""
        headers: Headers = list(message.get("headers", ()))
        self._converts = any(
            name.lower() == b"content-type" and value.lower().startswith(_EVENTS) for name, value in headers
        )
        if not self._converts:
            return message
        kept = [each for each in headers if each[0].lower() not in (b"content-type", b"content-length")]
        return {**message, "headers": [*kept, (b"content-type", MEDIA_TYPE)]}

    def body(self, message: Message) -> Message:
        """The same message with its part of the body as whole lines; they may be empty."""
        if not self._converts:
            return message
        chunk: bytes = message.get("body", b"")
        end = len(chunk) - 2
        if not self._rest and chunk.startswith(b"data: {") and chunk.endswith(b"\n\n") and chunk.find(b"\n") == end:
            # One event, as the engine sends nearly all of them.
            message["body"] = chunk[6:-1]
        else:
            message["body"] = self._lines(chunk)
        return message

    def _lines(self, chunk: bytes) -> bytes:
        text = (self._rest + chunk).replace(b"\r\n", b"\n")
        whole, separator, self._rest = text.rpartition(b"\n\n")
        return b"".join(map(_line, whole.split(b"\n\n"))) if separator else b""


def _line(event: bytes) -> bytes:
    """The data of one event as a line. If it has several lines, their ends are white space between tokens of JSON."""
    data = b" ".join(line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")).strip()
    return data + b"\n" if data and data != _DONE else b""
