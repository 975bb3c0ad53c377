"""The gateway's span: between the client's and the one of vLLM's engine, in one trace.

vLLM installs OpenTelemetry's provider in this process when it is given --otlp-traces-endpoint, before there is an
application. The gateway uses that one and never makes another: same exporter, same resource, and the same sampler
(OTEL_TRACES_SAMPLER). vLLM takes the parent of its span from the request's headers, so the gateway puts its own there,
sampled or not: the decision is made once. A client names the trace and its own span; whether they are recorded is not
the client's decision unless the platform says so (TRUST_TRACE_FLAGS), and no choice of a trace's id changes it. No
prompt, answer or key is ever an attribute.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry import trace as otel
    from opentelemetry.context import Context

SCOPE = "llmservice.gateway"
REQUEST_ID = "llmservice.request_id"
_PARENT = b"traceparent"
_STATE = b"tracestate"
_RANDOM = random.SystemRandom()
_SHARE = "OTEL_TRACES_SAMPLER_ARG"

Headers = list[tuple[bytes, bytes]]


class Span:
    """One request's."""

    __slots__ = ("_span", "headers")

    def __init__(self, span: otel.Span, headers: Headers) -> None:
        self._span = span
        self.headers = headers
        """The request's headers with this span as the parent of what follows."""

    def set(self, name: str, value: str | int | float | bool) -> None:
        """Sets an attribute."""
        self._span.set_attribute(name, value)

    def end(self, status: int) -> None:
        """The request has ended with this HTTP status."""
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Tracer:
    """Begins spans if tracing is configured; otherwise it costs nothing."""

    def __init__(
        self,
        provider: otel.TracerProvider | None = None,
        *,
        trusts_clients: bool = False,
        chance: Callable[[], float] = _RANDOM.random,
    ) -> None:
        """No ``provider``: that which the process has when the first request comes.

        ``trusts_clients``: the client's flag decides whether a trace is recorded.
        """
        self._provider = provider
        self._trusts_clients = trusts_clients
        self._chance = chance
        self._share = _share()
        self._tracer: otel.Tracer | None = None
        self._off = False

    def begin(self, headers: Headers, route: str, request_id: str) -> Span | None:
        """The span of a request with these headers; None without tracing."""
        if self._off:
            return None
        if self._tracer is None:
            self._tracer = self._find()
            if self._tracer is None:
                self._off = True
                return None
        from opentelemetry.trace import SpanKind

        attributes = {"http.route": route, REQUEST_ID: request_id}
        context = _context(headers) if self._trusts_clients else _decided(headers, self._chance() < self._share)
        span = self._tracer.start_span(route, context, SpanKind.SERVER, attributes)
        onward = _onward(headers, span)
        return Span(span, onward) if onward else None

    def _find(self) -> otel.Tracer | None:
        try:
            from opentelemetry import trace as otel
        except ImportError:
            return None
        provider = self._provider or otel.get_tracer_provider()
        if isinstance(provider, otel.ProxyTracerProvider | otel.NoOpTracerProvider):
            return None
        return provider.get_tracer(SCOPE)


def _share() -> float:
    """The share of traces that are recorded."""
    try:
        return float(os.environ.get(_SHARE) or 1)
    except ValueError:
        return 1.0


def _decided(headers: Headers, sampled: bool) -> Context:
    """The client's span as the parent, with our decision in place of the client's, and without the state of samplers
    that it names."""
    from opentelemetry import trace as otel

    given = otel.get_current_span(_context(headers)).get_span_context()
    if not given.is_valid:
        return _context([])
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if sampled else otel.TraceFlags.DEFAULT)
    parent = otel.SpanContext(given.trace_id, given.span_id, is_remote=True, trace_flags=flags)
    return otel.set_span_in_context(otel.NonRecordingSpan(parent))


def _context(headers: Headers) -> Context:
    """The client's span as the parent; empty if there is none, or more than one that claims to be it."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parents = [value for name, value in headers if name == _PARENT]
    carrier = {}
    if len(parents) == 1:
        carrier["traceparent"] = parents[0].decode("latin-1")
        if states := [value.decode("latin-1") for name, value in headers if name == _STATE]:
            carrier["tracestate"] = ",".join(states)
    return TraceContextTextMapPropagator().extract(carrier)


def _onward(headers: Headers, span: otel.Span) -> Headers:
    """The headers with `span` as the parent; none if the span has no identity (OTEL_SDK_DISABLED)."""
    context = span.get_span_context()
    if not context.is_valid:
        return []
    kept = [pair for pair in headers if pair[0] != _PARENT and pair[0] != _STATE]
    kept.append((_PARENT, b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)))
    if context.trace_state:
        kept.append((_STATE, context.trace_state.to_header().encode("latin-1")))
    return kept
