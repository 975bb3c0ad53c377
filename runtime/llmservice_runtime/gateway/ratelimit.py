"""The x-ratelimit-* headers that OpenAI's clients read."""

from __future__ import annotations

from llmservice_runtime.gateway.asgi import Headers
from llmservice_runtime.rate_limits.limiter import LimitState


def limit_headers(standing: LimitState) -> Headers:
    """How a key stands with its limits; empty without limits."""
    headers: Headers = []
    if standing.limit_requests is not None:
        headers += _told(b"requests", standing.limit_requests, standing.remaining_requests, standing.reset_requests)
    if standing.limit_tokens is not None:
        headers += _told(b"tokens", standing.limit_tokens, standing.remaining_tokens, standing.reset_tokens)
    return headers


def _told(what: bytes, limit: int, remaining: int | None, reset: float | None) -> Headers:
    """The seconds as OpenAI writes them: "12.345s"."""
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % limit),
        (b"x-ratelimit-remaining-" + what, b"%d" % (remaining or 0)),
        (b"x-ratelimit-reset-" + what, b"%.3fs" % max(0.0, reset or 0.0)),
    ]
