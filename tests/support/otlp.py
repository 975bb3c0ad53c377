"""A trace collector in the test's process: OTLP over HTTP, as Jaeger accepts it."""

from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Exported:
    """One span."""

    service: str
    scope: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first of its trace."""
    attributes: dict[str, Any]
    start: int
    """Nanoseconds since 1970."""
    end: int


class Collector:
    """Keeps what is sent to `endpoint`; use it as a context manager."""

    def __init__(self) -> None:
        self._spans: list[Exported] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self, name: str) -> list[Exported]:
        """Those of this name that have come so far."""
        return [span for span in self.every() if span.name == name]

    def every(self) -> list[Exported]:
        """Those of any name."""
        return list(self._spans)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        keep = self._spans.extend

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                keep(_read(self.rfile.read(int(self.headers["Content-Length"])), self.headers["Content-Encoding"]))
                body = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not to the test's output."""

        return Handler


def _read(body: bytes, encoding: str | None) -> list[Exported]:
    if encoding:
        raise ValueError(f"the exporter sent {encoding}, though nothing asked it to compress")
    return [
        Exported(
            service=str(_attributes(resource.resource.attributes).get("service.name", "")),
            scope=scope.scope.name,
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            attributes=_attributes(span.attributes),
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
