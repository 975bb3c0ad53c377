"""The types of ASGI, as far as the gateway needs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    """All values of a header; its name in lower case, as servers hand them on."""
    return [value for each, value in headers if each == name]
