"""Every refusal of the gateway: its message, its status and its headers. Its form is the matter of `error_shapes`.

What a client sent is never returned to it unclipped, and never if it might be a key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmservice_runtime.gateway.asgi import Headers

POLICY_VIOLATION = 1008
"""Why a websocket is closed before it is open."""
IDLE_RETRY_SECONDS = 1
QUEUE_RETRY_SECONDS = 5
_TOO_BIG = 1009
_INVALID = "invalid_request_error"
_UNREAD = ((b"connection", b"close"),)
"""A body that was not read to its end is in the way of a next request."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the gateway's own. `reason` is its name in metrics and logs."""

    status: int
    reason: str
    message: str
    type: str = _INVALID
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close_code: int | None = None
    """With which an open websocket is closed."""

    def with_headers(self, headers: Headers) -> Refusal:
        """The same, with more headers."""
        return replace(self, headers=(*self.headers, *headers))


class Refused(Exception):
    """Ends a request's way through the gateway."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def no_key() -> Refusal:
    return Refusal(
        401,
        "unauthorized",
        "This service needs an API key that it knows, sent as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'. If a "
        "request has both headers, they must hold the same key.",
        code="invalid_api_key",
        headers=((b"www-authenticate", b"Bearer"),),
    )


def not_for_clients() -> Refusal:
    return Refusal(
        403,
        "forbidden",
        "This route needs a key of the role admin.",
        type="permission_error",
        code="insufficient_permissions",
    )


def no_such_route() -> Refusal:
    return Refusal(
        404,
        "not_found",
        "No route has this path. Paths are compared letter for letter, so also without a slash at the end or a second "
        "one in between. The base URL of a client ends in /v1 for OpenAI's API, and before it for Anthropic's.",
        code="unknown_url",
    )


def method_not_allowed(allowed: Sequence[str]) -> Refusal:
    """`allowed`: the methods that routes with this path have."""
    methods = ", ".join(allowed)
    return Refusal(
        405,
        "method",
        f"This path takes {methods}.",
        code="method_not_allowed",
        headers=((b"allow", methods.encode()),),
    )


def encoded_body() -> Refusal:
    return Refusal(
        415,
        "content_encoding",
        "The body is compressed (Content-Encoding). Send it as it is: this service decompresses no bodies.",
        code="content_encoding",
        headers=((b"accept-encoding", b"identity"), *_UNREAD),
    )


def origin_not_allowed() -> Refusal:
    return Refusal(
        403,
        "origin",
        "Web pages of this origin may not use this service: add the origin to spec.access.allowedOrigins.",
        type="permission_error",
        code="origin_not_allowed",
    )


def not_from_here() -> Refusal:
    return Refusal(
        403,
        "forbidden",
        "This route answers only to processes in the same pod.",
        type="permission_error",
        code="insufficient_permissions",
    )


def draining(seconds: int) -> Refusal:
    return Refusal(
        503,
        "draining",
        "This replica is being stopped and takes no new requests; another one will.",
        type="server_error",
        code="draining",
        headers=(_retry_after(seconds),),
    )


def headers_too_large(size: int, most: int) -> Refusal:
    return Refusal(
        431,
        "header_bytes",
        f"The request line and headers have {size} bytes; this service allows {most} (headerBytes).",
        code="header_bytes",
        headers=_UNREAD,
    )


def body_too_large(most: int) -> Refusal:
    return Refusal(
        413,
        "body_bytes",
        f"The body has more than the {most} bytes that this service allows (bodyBytes).",
        code="body_bytes",
        headers=_UNREAD,
    )


def bad_length() -> Refusal:
    return Refusal(400, "bad_body", "Content-Length is not one whole number.", code="bad_body", headers=_UNREAD)


def not_json(why: str) -> Refusal:
    return Refusal(400, "bad_body", f"The body {why}; this route takes a JSON object.", code="bad_body")


def not_an_object(field: str) -> Refusal:
    return Refusal(400, "bad_body", f"{field} has to be a JSON object.", code="bad_body", param=field)


def media_url(field: str, domains: list[str]) -> Refusal:
    """`domains` are those that the service lists."""
    allowed = f"fetches media only by http and https from {', '.join(domains)}" if domains else "fetches no media"
    return Refusal(
        400,
        "media_url",
        f"{field} is a URL that this service does not fetch: it {allowed} (spec.access.mediaDomains). Send the content "
        "itself as a data: URL, such as data:image/png;base64,CONTENT.",
        code="media_url",
        param=field,
    )


def media_options(field: str) -> Refusal:
    return Refusal(
        400,
        "media_options",
        f"{field} is not allowed: it changes how much memory and time the engine spends on media. Take it out.",
        code="media_options",
        param=field,
    )


def above_cap(cap: str, most: int, field: str, asked: str) -> Refusal:
    """`cap` is the name in the access policy, `asked` a short text of the gateway's own making."""
    return Refusal(
        400,
        _snake(cap),
        f"{field} asks for {asked}; this service allows {most} ({cap}).",
        code=_snake(cap),
        param=field,
    )


def wrong_type(field: str, wanted: str) -> Refusal:
    """`wanted` is a text such as "an integer"."""
    return Refusal(
        400,
        "field_type",
        f"{field} has to be {wanted} or absent, as plain JSON: not as a text, and not as a number with a point.",
        code="field_type",
        param=field,
    )


def field_too_large(field: str, size: int, most: int, what: str = "bytes") -> Refusal:
    return Refusal(
        400,
        "field_bytes",
        f"{field} has {size} {what}; {most} are allowed.",
        code="field_bytes",
        param=field,
    )


def repeats_too_often(field: str, found: int, most: int, in_one_place: int) -> Refusal:
    return Refusal(
        400,
        "pattern_repeats",
        f"The patterns of {field} repeat something {found} times; {most} are allowed together if all are few, and "
        f"{in_one_place} in a single place. Use maxLength instead of a count in a pattern.",
        code="pattern_repeats",
        param=field,
    )


def pattern_too_long(field: str, length: int, most: int) -> Refusal:
    return Refusal(
        400,
        "pattern_bytes",
        f"A pattern of {field} has {length} characters; {most} are allowed. Use choices or an enum for alternatives.",
        code="pattern_bytes",
        param=field,
    )


def too_many_properties(field: str, most: int) -> Refusal:
    return Refusal(
        400,
        "schema_properties",
        f"The objects that the schemas of {field} describe have too many properties: {most} are allowed in one object, "
        "and fewer in each of several large ones. Split large objects.",
        code="schema_properties",
        param=field,
    )


def ambiguous_pattern(field: str) -> Refusal:
    return Refusal(
        400,
        "ambiguous_pattern",
        f"A pattern of {field} repeats a group of which a branch has only repeated or optional parts, as (a*)* or "
        "(a+|b)+, so that one text matches in very many ways. Write [ab]* instead, or put a fixed part between the "
        "repetitions.",
        code="ambiguous_pattern",
        param=field,
    )


def too_many_prompt_logprobs(field: str, found: int, most: int) -> Refusal:
    return Refusal(
        400,
        "prompt_logprobs",
        f"{field} asks for up to {found} log probabilities of all prompts and answers together; {most} are allowed. "
        "A text counts a token for each byte. Ask for fewer of each token, or send fewer or shorter prompts.",
        code="prompt_logprobs",
        param=field,
    )


def not_in_background() -> Refusal:
    return Refusal(
        400,
        "background",
        "background has to be false or absent: this service keeps no responses. Use stream for long answers.",
        code="background",
        param="background",
    )


def websocket_too_large(what: str, size: int, most: int) -> Refusal:
    return Refusal(
        413,
        "websocket_bytes",
        f"{what} of this websocket had {size} bytes; {most} are allowed.",
        code="websocket_bytes",
        close_code=_TOO_BIG,
    )


def too_many_values(cap: str, most: int, found: str) -> Refusal:
    """`cap` is the name in the access policy, `found` a short text of the gateway's own making."""
    return Refusal(
        400,
        cap,
        f"The body has {found}; this service allows {most} {cap} (spec.access.caps.{cap}). Send less in one request.",
        code=cap,
    )


def buffers_full(most: int, of_key: bool) -> Refusal:
    if of_key:
        return Refusal(
            429,
            "buffered_bytes",
            f"The requests of this key that are being answered have bodies of {most} bytes together, as many as one "
            "replica keeps for one key (a third of bufferedBytes). Try again when some of them have been answered.",
            type="requests",
            code="buffered_bytes",
            headers=(_retry_after(1), *_UNREAD),
        )
    return Refusal(
        503,
        "buffered_bytes",
        f"The requests that this replica is answering have bodies of {most} bytes together, as many as it keeps "
        "(bufferedBytes). Try again in 1 s.",
        type="server_error",
        code="buffered_bytes",
        headers=(_retry_after(1), *_UNREAD),
    )


def too_many_in_all(most: int) -> Refusal:
    return Refusal(
        503,
        "concurrency",
        f"{most} requests are being answered, as many as one replica allows (concurrencyPerReplica). Try again in 1 s.",
        type="server_error",
        code="concurrency_per_replica",
        headers=(_retry_after(1),),
    )


def refused_too_much(seconds: float) -> Refusal:
    """The gateway has read too many bytes of this key's requests that it then had to refuse."""
    wait = max(1, math.ceil(seconds))
    return Refusal(
        429,
        "refused_bytes",
        "Too many large requests of this key were refused. Correct them (see the errors before this one) and try "
        f"again in {wait} s.",
        type="requests",
        code="refused_bytes",
        headers=(_retry_after(wait),),
    )


def too_frequent(seconds: float) -> Refusal:
    """Of requests that the rate limits don't count."""
    wait = max(1, math.ceil(seconds))
    return Refusal(
        429,
        "other_requests",
        f"This key calls this route too often. Try again in {wait} s.",
        type="requests",
        code="other_requests",
        headers=(_retry_after(wait),),
    )


def keys_unknown(seconds: int) -> Refusal:
    return Refusal(
        503,
        "keys_unreadable",
        f"This replica could not read its API keys for {seconds} s, so it does not know which ones are valid. See its "
        "log.",
        type="server_error",
        code="keys_unreadable",
        headers=(_retry_after(1),),
    )


def not_with_own_cache() -> Refusal:
    return Refusal(
        403,
        "prefix_cache",
        "Each key has a prefix cache of its own here (prefixCache), and this route can't keep to that. Use another "
        "route of the API.",
        type="permission_error",
        code="prefix_cache",
    )


def too_many_at_once(most: int) -> Refusal:
    return Refusal(
        429,
        "concurrency",
        f"{most} requests of this key are being answered, as many as one replica allows (concurrency).",
        type="requests",
        code="concurrency",
        headers=(_retry_after(1),),
    )


def over_limit(what: str, limit: int | None, retry_after: float) -> Refusal:
    """`what` is "requests" or "tokens"."""
    seconds = max(1, math.ceil(retry_after))
    return Refusal(
        429,
        f"{what}_per_minute",
        f"The limit of {limit} {what} per minute of this key is reached. Try again in {seconds} s.",
        type=what,
        code="rate_limit_exceeded",
        headers=(_retry_after(seconds),),
        close_code=POLICY_VIOLATION,
    )


def unbounded_over_limit(limit: int, field: str, seconds: int) -> Refusal:
    """`field` is the one that would have bounded the answer."""
    return Refusal(
        429,
        "tokens_per_minute",
        f"This answer was ended: its key is above its limit of {limit} tokens per minute, and the request did not say "
        f"how long the answer may be. Set {field}: what stays within it is never ended.",
        type="tokens",
        code="tokens_per_minute",
        param=field,
        headers=(_retry_after(seconds),),
    )


def never_within_limit(what: str, limit: int | None, asked: int) -> Refusal:
    return Refusal(
        429,
        f"{what}_per_minute",
        f"This request counts as {asked} {what}, and the limit is {limit} per minute: it will never fit. Ask for "
        "fewer prompts, answers (n) or tokens (max_tokens).",
        type=what,
        code="rate_limit_exceeded",
        headers=((b"x-should-retry", b"false"),),
    )


def store_unavailable() -> Refusal:
    return Refusal(
        503,
        "store_unavailable",
        "The store of the rate limits does not answer, and this service lets no request pass without it.",
        type="server_error",
        code="store_unavailable",
        headers=(_retry_after(1),),
    )


def too_slow(seconds: int) -> Refusal:
    return Refusal(
        408,
        "slow_body",
        f"The body did not arrive within {seconds} s (deadlineSeconds).",
        type="timeout_error",
        code="deadline",
        headers=_UNREAD,
    )


def below_least_rate(size: int, seconds: int, least: int) -> Refusal:
    return Refusal(
        408,
        "slow_body",
        f"Only {size} bytes of the body arrived in {seconds} s; it has to arrive at {least} bytes per second or more.",
        type="timeout_error",
        code="slow_body",
        headers=_UNREAD,
    )


def past_deadline(seconds: int) -> Refusal:
    return Refusal(
        504,
        "deadline",
        f"The answer was not ready within {seconds} s (deadlineSeconds). Ask for fewer tokens, or stream.",
        type="timeout_error",
        code="deadline",
    )


def no_idle_capacity() -> Refusal:
    """Of requests that use idle capacity alone."""
    return Refusal(
        429,
        "no_idle_capacity",
        "The engine has no idle capacity for requests with the header X-Request-Class: batch. "
        f"Try again in {IDLE_RETRY_SECONDS} s.",
        type="requests",
        code="no_idle_capacity",
        headers=(_retry_after(IDLE_RETRY_SECONDS),),
    )


def queued_too_long(seconds: int) -> Refusal:
    """It has no first token yet."""
    return Refusal(
        503,
        "queue_seconds",
        f"The engine is busy: this request had no first token within {seconds} s (maxQueueSeconds of its key's tier). "
        f"Try again in {QUEUE_RETRY_SECONDS} s.",
        type="server_error",
        code="queue_seconds",
        headers=(_retry_after(QUEUE_RETRY_SECONDS),),
    )


def shown_number(number: float) -> str:
    """A number that a client sent, at a bounded length."""
    return str(number) if -(10**15) < number < 10**15 else "an immense number"


def _retry_after(seconds: int) -> tuple[bytes, bytes]:
    return b"retry-after", str(seconds).encode()


def _snake(cap: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in cap)
