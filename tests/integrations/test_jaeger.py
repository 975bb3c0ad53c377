"""What a user of Jaeger sees of a request: one trace from the client to vLLM's engine, found by the request's id.

Jaeger and the engine are real. A client that traces sends its own span to Jaeger too, as it would in production.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llmservice_contract.policy import Policy
from support.access import AccessFiles
from support.cluster import wait_until
from support.engine import Engine, make_model
from support.jaeger import Jaeger, Trace

PROMPT = "The quick brown fox"
ASK = "ask"
FRONT = "/v1/completions"
ENGINE = "llm_request"
TOKENS = 32


@dataclass(frozen=True)
class Place:
    """An engine that asks for keys and sends its traces to Jaeger, and a client that does."""

    engine: Engine
    jaeger: Jaeger
    client: TracerProvider
    key: str

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} | more

    def trace_of(self, request_id: str, *names: str) -> Trace:
        """The one trace with this request in it, once it has spans of these names."""

        def whole() -> Trace | None:
            found = self.jaeger.find("tiny", **{"llmservice.request_id": request_id})
            assert len(found) <= 1, f"Jaeger has {len(found)} traces of one request"
            return found[0] if found and {span.name for span in found[0].spans} >= set(names) else None

        trace = wait_until(whole, f"Jaeger has {names} of request {request_id}", timeout=60)
        assert trace is not None
        return trace


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module", params=["grpc", "http"])
def place(request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("jaeger")
    access = AccessFiles(directory, Policy(require_keys=True))
    key = access.make_key("premium")
    client = TracerProvider(resource=Resource.create({"service.name": "client"}))
    with Jaeger(directory / "jaeger") as jaeger:
        client.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(jaeger.endpoints["http"])))
        tracing = {"OTLP_TRACES_ENDPOINT": jaeger.endpoints[request.param], "OTEL_BSP_SCHEDULE_DELAY": "200"}
        with Engine(directory, model, MAX_CONTEXT_LENGTH="1024", **access.environ, **tracing) as engine:
            engine.wait_until_ready()
            yield Place(engine, jaeger, client, key)
        client.shutdown()


def test_client_front_and_engine_are_one_trace_in_jaeger(place: Place) -> None:
    headers = place.headers()
    with place.client.get_tracer("client").start_as_current_span(ASK) as asked:
        TraceContextTextMapPropagator().inject(headers)
        _, answered = place.engine.answer(PROMPT, headers=headers, max_tokens=TOKENS, ignore_eos=True)
    request_id = answered["x-request-id"]
    trace = place.trace_of(request_id, ASK, FRONT, ENGINE)
    spans = {span.name: span for span in trace.spans}
    client, front, engine = (spans[name] for name in (ASK, FRONT, ENGINE))
    assert trace.id == f"{asked.get_span_context().trace_id:032x}"
    assert len(trace.spans) == 3
    assert (client.parent_id, front.parent_id, engine.parent_id) == ("", client.span_id, front.span_id)
    assert client.span_id == f"{asked.get_span_context().span_id:016x}"
    assert (client.service, front.service, engine.service) == ("client", "tiny", "tiny")
    assert request_id in engine.tags["gen_ai.request.id"]
    assert front.tags["gen_ai.usage.output_tokens"] == engine.tags["gen_ai.usage.completion_tokens"] == TOKENS
    assert client.began <= front.began <= engine.began
    # A server may be done with its span after its client has read the answer; Jaeger takes that for a clock.
    assert not [each for each in trace.warnings if "clock skew" not in each], "each parent is there"


def test_jaeger_is_told_no_prompt_answer_or_key(place: Place) -> None:
    reported, answered = place.engine.answer(PROMPT, headers=place.headers(), max_tokens=TOKENS, ignore_eos=True)
    text = place.trace_of(answered["x-request-id"], FRONT, ENGINE).text
    answer = reported["choices"][0]["text"]
    assert len(answer) > 20
    for secret in (PROMPT, answer[:20], place.key, place.key[-20:]):
        assert json.dumps(secret)[1:-1] not in text
