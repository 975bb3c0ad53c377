"""The front's span: a child of the client's, the parent of the engine's, and nothing where there is no tracing."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, SpanKind, StatusCode

from llmservice_runtime.gateway.trace import REQUEST_ID, Headers, Span, Tracer

ROUTE = "/v1/completions"
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
PARENT = 0xB7AD6B7169203331
OTHER: Headers = [(b"host", b"localhost"), (b"x-request-id", b"abc")]


class Traced:
    """A tracer whose spans are kept. The sampler is what the environment says, as in vLLM's provider."""

    def __init__(self, *, trusts_clients: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._tracer = Tracer(provider, trusts_clients=trusts_clients)

    def begin(self, headers: Headers) -> Span:
        span = self._tracer.begin(headers, ROUTE, "abc")
        assert span is not None
        return span

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def span(self) -> ReadableSpan:
        (found,) = self.spans()
        return found


def traceparent(trace: int = TRACE, span: int = PARENT, flags: int = 1) -> tuple[bytes, bytes]:
    return b"traceparent", b"00-%032x-%016x-%02x" % (trace, span, flags)


def parents(headers: Headers) -> list[bytes]:
    return [value for name, value in headers if name == b"traceparent"]


def is_sampled(headers: Headers) -> bool:
    (value,) = parents(headers)
    return bool(int(value[-2:], 16) & 1)


def test_the_clients_span_is_the_parent_and_the_engine_gets_ours() -> None:
    traced = Traced()
    span = traced.begin([*OTHER, traceparent()])
    span.end(200)
    context, parent = traced.span().context, traced.span().parent
    assert context is not None and parent is not None
    assert (parent.trace_id, parent.span_id) == (TRACE, PARENT)
    assert parents(span.headers) == [traceparent(TRACE, context.span_id)[1]]
    assert [pair for pair in span.headers if pair in OTHER] == OTHER


def test_without_a_parent_a_trace_begins() -> None:
    traced = Traced()
    span = traced.begin(OTHER)
    span.end(200)
    context = traced.span().context
    assert context is not None
    assert traced.span().parent is None
    assert parents(span.headers) == [traceparent(context.trace_id, context.span_id, context.trace_flags)[1]]
    assert is_sampled(span.headers)


@pytest.mark.parametrize(
    "headers",
    [
        [traceparent(), traceparent(span=PARENT + 1)],
        [(b"traceparent", b"")],
        [(b"traceparent", b"\xff" * 40)],
        [(b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")],
        [(b"traceparent", b"00-" + b"a" * 5000)],
        [(b"tracestate", b"a=1")],
    ],
    ids=["two", "empty", "no text", "zeros", "long", "state alone"],
)
def test_what_names_no_one_parent_is_dropped(headers: Headers) -> None:
    traced = Traced()
    span = traced.begin([*OTHER, *headers])
    span.end(200)
    assert traced.span().parent is None
    assert len(parents(span.headers)) == 1
    assert not set(headers) & set(span.headers)


def test_the_state_of_other_tracers_goes_on_where_clients_decide() -> None:
    span = Traced(trusts_clients=True).begin([traceparent(), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")])
    assert [value for name, value in span.headers if name == b"tracestate"] == [b"a=1,b=2"]


@pytest.mark.parametrize(("flags", "recorded"), [(0, 0), (1, 1)])
def test_the_client_decides_whether_its_trace_is_recorded_if_the_platform_says_so(
    flags: int, recorded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", str(1 - flags))
    traced = Traced(trusts_clients=True)
    span = traced.begin([traceparent(flags=flags)])
    span.end(200)
    assert len(traced.spans()) == recorded
    assert is_sampled(span.headers) == bool(recorded)


@pytest.mark.parametrize("trace", [TRACE, 1, (1 << 128) - 1], ids=["any", "lowest", "highest"])
@pytest.mark.parametrize("flags", [0, 1, 255])
@pytest.mark.parametrize("share", [0, 1])
def test_neither_flag_nor_id_of_a_client_decides_whether_it_is_recorded(
    trace: int, flags: int, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", str(share))
    traced = Traced()
    span = traced.begin([traceparent(trace, flags=flags), (b"tracestate", b"ot=th:0")])
    span.end(200)
    assert len(traced.spans()) == share
    assert is_sampled(span.headers) == bool(share)
    assert parents(span.headers)[0].startswith(b"00-%032x-" % trace), "the trace is the client's all the same"
    assert not [name for name, _ in span.headers if name == b"tracestate"]


def test_what_is_sampled_out_stays_out_in_the_engine() -> None:
    """A traceparent goes on all the same: without one the engine would begin a trace of its own."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        environ.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
        traced = Traced()
    sampled = 0
    for number in range(400):
        span = traced.begin([*OTHER, traceparent(1 + number)] if number % 2 else OTHER)
        span.end(200)
        sampled += is_sampled(span.headers)
    assert sampled == len(traced.spans())
    assert 50 <= sampled <= 150, "a quarter of 400"


def test_a_span_tells_route_request_and_outcome() -> None:
    traced = Traced()
    span = traced.begin(OTHER)
    span.set("gen_ai.usage.completion_tokens", 7)
    span.end(200)
    found = traced.span()
    assert (found.name, found.kind) == (ROUTE, SpanKind.SERVER)
    assert found.attributes == {
        "http.route": ROUTE,
        REQUEST_ID: "abc",
        "gen_ai.usage.completion_tokens": 7,
        "http.response.status_code": 200,
    }


@pytest.mark.parametrize(("status", "code"), [(200, "UNSET"), (429, "UNSET"), (500, "ERROR"), (504, "ERROR")])
def test_only_our_own_failures_are_errors(status: int, code: str) -> None:
    traced = Traced()
    traced.begin(OTHER).end(status)
    assert traced.span().status.status_code is StatusCode[code]


def test_no_header_becomes_an_attribute() -> None:
    traced = Traced()
    traced.begin([*OTHER, (b"authorization", b"Bearer llm_key_secret")]).end(200)
    assert "secret" not in traced.span().to_json()


@pytest.mark.parametrize("provider", [ProxyTracerProvider(), NoOpTracerProvider()], ids=["none set", "none wanted"])
def test_without_tracing_there_is_no_span(provider: ProxyTracerProvider | NoOpTracerProvider) -> None:
    assert Tracer(provider).begin([traceparent()], ROUTE, "abc") is None


def test_a_disabled_sdk_leaves_the_headers_to_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert Tracer(TracerProvider()).begin(OTHER, ROUTE, "abc") is None


def test_the_process_is_asked_for_its_provider_at_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import trace

    early = Tracer()
    monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
    assert early.begin(OTHER, ROUTE, "abc") is not None
