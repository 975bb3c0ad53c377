"""Where traces of requests are sent."""

from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_settings as rows
from llmservice_operator.api.base import APIType, Rule, bounds


class Tracing(APIType):
    """Traces of requests, from the client's `traceparent` to the engine, sent to an OpenTelemetry collector."""

    endpoint: Annotated[str, bounds(rows.TRACING_ENDPOINT)]
    """Address of the collector for OTLP: `http://HOST:4317` by gRPC, `http://HOST:4318/v1/traces` (any URL with a path)
    by HTTP."""
    sampling_percent: Annotated[int, Field(ge=0, le=100)] = 100
    """Percentage of requests that are traced. A client's `traceparent` sets the trace id. Its sampling decision counts
    only if the platform allows it (chart value `allowed.traceFlags`)."""

    rules = (
        Rule(
            "!self.endpoint.startsWith('https://') || self.endpoint.split('/').size() > 3",
            "an https endpoint needs its path, such as https://HOST:4318/v1/traces: by gRPC vLLM sends without TLS",
            ".endpoint",
        ),
    )
