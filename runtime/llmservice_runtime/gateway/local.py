"""Whether a request comes from a process in the same pod."""

from __future__ import annotations

import ipaddress
from typing import Any

from llmservice_runtime.gateway.asgi import Scope

_FORWARDED = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)


def is_local(scope: Scope) -> bool:
    """True if both ends of the connection are loopback addresses and no proxy beside the engine handed it on."""
    ends = _is_loopback(scope.get("client")) and _is_loopback(scope.get("server"))
    return ends and not any(name in _FORWARDED for name, _ in scope["headers"])


def _is_loopback(end: Any) -> bool:
    if not end or not isinstance(end[0], str):
        return False
    try:
        address = ipaddress.ip_address(end[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
