"""The id of a request: the client's own if it fits into a log line, else a new one."""

from __future__ import annotations

import re
from collections.abc import Callable

from llmservice_runtime.gateway.asgi import Headers, values_of

NAME = b"x-request-id"
_FITS = re.compile(rb"[\x21-\x7e]{1,128}")


def request_id(headers: Headers, new_id: Callable[[], str]) -> str:
    """The client's id if it sent one, of 1 to 128 printable characters without spaces; else a new one."""
    sent = values_of(headers, NAME)
    return sent[0].decode() if len(sent) == 1 and _FITS.fullmatch(sent[0]) else new_id()


def with_request_id(headers: Headers, chosen: str) -> Headers:
    """The headers with this id in place of any other."""
    return [*((name, value) for name, value in headers if name != NAME), (NAME, chosen.encode())]
