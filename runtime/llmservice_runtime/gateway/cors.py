"""Which web pages may use the service (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

A page of a listed origin may read all answers, the gateway's refusals included. For other pages an answer has no header
that lets a browser show it. Keys are sent in headers, never as cookies, so no answer allows credentials.
"""

from __future__ import annotations

from collections.abc import Collection

from llmservice_runtime.gateway.asgi import Headers, Scope, Send, values_of
from llmservice_runtime.gateway.error_shapes import send_refusal
from llmservice_runtime.gateway.refusals import origin_not_allowed

ANY = "*"
PREFLIGHT_SECONDS = b"600"
"""For which a browser may keep the answer to a preflight request."""

_VARY = (b"vary", b"Origin")
_OF_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, POST"),
    # The wildcard does not stand for this one header.
    (b"access-control-allow-headers", b"*, authorization"),
    (b"access-control-max-age", PREFLIGHT_SECONDS),
]


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks what a page may send."""
    if scope["type"] != "http" or scope["method"] != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names


async def answer_preflight(allowed: Collection[str], scope: Scope, send: Send) -> None:
    """Says what a page may send. No key is needed: browsers send none here, and the answer depends on none."""
    headers = cors_headers(allowed, scope["headers"])
    if not any(name == b"access-control-allow-origin" for name, _ in headers):
        await send_refusal(origin_not_allowed(), scope, send, headers)
        return
    await send({"type": "http.response.start", "status": 204, "headers": [*headers, *_OF_PREFLIGHT]})
    await send({"type": "http.response.body", "body": b""})


def cors_headers(allowed: Collection[str], headers: Headers) -> Headers:
    """What an answer to a request with these headers has to say; `allowed` are origins, or `*` for all."""
    if not allowed:
        return []
    if ANY in allowed:
        return _readable(b"*")
    origins = values_of(headers, b"origin")
    if len(origins) == 1 and origins[0].decode("latin-1") in allowed:
        return [*_readable(origins[0]), _VARY]
    return [_VARY]


def _readable(origin: bytes) -> Headers:
    return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", b"*")]
