"""The body of a request: read once within its bound, parsed once, handed on byte for byte.

Nothing is read of a body that says itself that it is too large, and nothing beyond the bound of one that does not. A
body that arrives too slowly is refused, so that it holds neither memory nor a place for long.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json

from llmservice_runtime.gateway.asgi import Headers, Receive, values_of
from llmservice_runtime.gateway.refusals import Refused, bad_length, below_least_rate, body_too_large, not_json

GRACE_SECONDS = 10.0
"""Time for a body of any size."""
LEAST_RATE = 4096
"""Average rate, in bytes per second, at which a body must arrive after GRACE_SECONDS."""
_MOST_DIGITS = 18


class ClientGone(Exception):
    """The client went away before its request was complete."""


async def read_body(receive: Receive, headers: Headers, most: int, take: Callable[[int], None]) -> bytes:
    """The whole body. Raises ClientGone, and Refused if it is larger than `most` or comes too slowly.

    `take` is called with the size of each part before it is kept; what it raises ends the reading.
    """
    if (announced := _announced(headers)) is not None and announced > most:
        raise Refused(body_too_large(most))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    first, body = b"", bytearray()
    size = 0
    more = True
    try:
        async with asyncio.timeout_at(begun + GRACE_SECONDS) as limit:
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                part: bytes = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise Refused(body_too_large(most))
                take(len(part))
                if size == len(part):
                    first = part
                else:
                    # In one piece of memory: what lies between small ones is not given back when they are freed.
                    body += first + part if first else part
                    first = b""
                more = message.get("more_body", False)
                limit.reschedule(begun + GRACE_SECONDS + size / LEAST_RATE)
    except TimeoutError:
        if limit.expired():
            raise Refused(below_least_rate(size, round(loop.time() - begun), LEAST_RATE)) from None
        raise
    return bytes(body) if body else first


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises Refused."""
    try:
        request = from_json(body)
    except (ValueError, RecursionError):
        raise Refused(not_json("is not JSON, or is nested too deeply")) from None
    if not isinstance(request, dict):
        raise Refused(not_json("is JSON but no object"))
    return request


def with_field(body: bytes, field: str, value: int | str) -> bytes:
    """The JSON object in `body` with this field added at its end, which overrides an earlier one of the same name."""
    inside = body.rstrip(b" \t\r\n")[:-1]
    separator = b"" if inside.strip(b" \t\r\n") == b"{" else b","
    return b"%s%s%s:%s}" % (inside, separator, json.dumps(field).encode(), json.dumps(value).encode())


def with_length(headers: Headers, length: int) -> Headers:
    """The headers with the Content-Length of a body of this size."""
    kept = [pair for pair in headers if pair[0] not in (b"content-length", b"transfer-encoding")]
    return [*kept, (b"content-length", str(length).encode())]


def _announced(headers: Headers) -> int | None:
    values = values_of(headers, b"content-length")
    if not values:
        return None
    if len(values) > 1 or not values[0].isdigit():
        raise Refused(bad_length())
    return int(values[0]) if len(values[0]) <= _MOST_DIGITS else 10**_MOST_DIGITS
