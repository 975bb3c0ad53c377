"""What is known of one request while it is in the process: its id, whether it comes from the same pod, and what its log
line and its span say in the end."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmservice_contract.keys import DEFAULT_TIER, StoredKey
from llmservice_contract.policy import Policy
from llmservice_runtime.gateway.answer import ResponseStream
from llmservice_runtime.gateway.asgi import Headers, Scope, values_of
from llmservice_runtime.gateway.dependencies import Span
from llmservice_runtime.gateway.error_shapes import REQUEST_ID
from llmservice_runtime.gateway.idle_capacity import is_of_a_batch
from llmservice_runtime.gateway.log import Line
from llmservice_runtime.gateway.routes import WEBSOCKET, Route
from llmservice_runtime.gateway.usage import Usage

_FITS = re.compile(rb"[\x21-\x7e]{1,128}")


def request_id(headers: Headers, new_id: Callable[[], str]) -> str:
    """The client's id if it sent one, of 1 to 128 printable characters without spaces; else a new one."""
    sent = values_of(headers, REQUEST_ID)
    return sent[0].decode() if len(sent) == 1 and _FITS.fullmatch(sent[0]) else new_id()


_REPLACED = frozenset({REQUEST_ID, b"x-data-parallel-rank"})
"""By the second one a client would choose one of the replica's engines (`spec.parallelism.data`) and overload it."""


def headers_for_vllm(headers: Headers, chosen: str) -> Headers:
    """The headers with this id in place of any other, and without those that only vLLM's own routers may send."""
    return [*((name, value) for name, value in headers if name not in _REPLACED), (REQUEST_ID, chosen.encode())]


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


NO_TIER = "none"
"""Name of the tier in metrics and logs if a request has no key."""
CLIENT_GONE = "client_gone"
FAILED = "failed"
GONE_STATUS = 499
FAILED_STATUS = 500
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


@dataclass(slots=True)
class RequestContext:
    """One request."""

    scope: Scope
    route: Route
    request_id: str
    begun: float
    until: float
    """The deadline, on the event loop's clock."""
    policy: Policy
    """What holds for it from its first byte to its last."""
    answer: ResponseStream
    key: StoredKey | None = None
    span: Span | None = None
    status: int = 0
    """Of the gateway's own answer; 0 if the application's counts."""
    reason: str = ""
    usage: Usage | None = None
    """Tokens of prompt and answer."""

    @property
    def is_of_a_batch(self) -> bool:
        """Whether it uses idle capacity alone."""
        return is_of_a_batch(self.scope["headers"])

    @property
    def key_id(self) -> str:
        """Empty without a key."""
        return self.key.id if self.key else ""

    @property
    def tier(self) -> str:
        """As metrics and logs name it."""
        return self.key.tier if self.key else NO_TIER

    @property
    def limits_tier(self) -> str:
        """The tier whose limits hold."""
        return self.key.tier if self.key else DEFAULT_TIER

    @property
    def method(self) -> str:
        """One of the usual methods."""
        if self.scope["type"] == "websocket":
            return WEBSOCKET
        method: str = self.scope["method"]
        return method if method in _METHODS else "other"

    @property
    def final_status(self) -> int:
        """The status that the client got, or what stands for it in logs."""
        if self.status:
            return self.status
        if self.answer.status:
            return self.answer.status
        return GONE_STATUS if self.reason == CLIENT_GONE else FAILED_STATUS

    def line(self, now: float) -> Line:
        """Its log fields, once it has ended."""
        first = self.answer.first
        prompt, completion = self.usage or (None, None)
        return Line(
            request_id=self.request_id,
            key_id=self.key_id,
            tier=self.tier,
            method=self.method,
            route=self.route.pattern,
            status=self.final_status,
            seconds=now - self.begun,
            ttft_seconds=None if first is None else first - self.begun,
            prompt_tokens=prompt,
            completion_tokens=completion,
            reason=self.reason,
        )

    def end_span(self) -> None:
        """Closes the span, if there is one."""
        if self.span is None:
            return
        self.span.set("llmservice.key_id", self.key_id)
        self.span.set("llmservice.tier", self.tier)
        if self.usage is not None:
            self.span.set("gen_ai.usage.input_tokens", self.usage[0])
            self.span.set("gen_ai.usage.output_tokens", self.usage[1])
        if self.reason:
            self.span.set("llmservice.reason", self.reason)
        self.span.end(self.final_status)
