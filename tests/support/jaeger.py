"""A real Jaeger as a separate process: it accepts OTLP by gRPC and HTTP, stores traces in memory and answers queries.

Its configuration is that of Jaeger's all-in-one program, on free loopback ports and without receivers of other
protocols.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cache import CACHE
from support.cluster import START_SECONDS, wait_until
from support.ports import free_port


@dataclass(frozen=True)
class Recorded:
    """One span as Jaeger tells it."""

    name: str
    span_id: str
    parent_id: str
    """Empty for the first of its trace."""
    service: str
    began: int
    """Microseconds of the epoch."""
    tags: dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """One trace as Jaeger tells it."""

    id: str
    spans: list[Recorded]
    warnings: list[str]
    text: str
    """All that Jaeger tells of it."""


class Jaeger:
    """One Jaeger; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._program = CACHE / "bin" / "jaeger"
        if not self._program.exists():
            pytest.fail(f"Jaeger is not on this machine ({self._program}): run hack/cluster/jaeger build")
        self._directory = directory
        self._query, self._grpc, self._http = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoints(self) -> dict[str, str]:
        """Where it takes spans, by protocol."""
        return {"grpc": f"http://127.0.0.1:{self._grpc}", "http": f"http://127.0.0.1:{self._http}/v1/traces"}

    def __enter__(self) -> Jaeger:
        self._directory.mkdir(parents=True)
        configuration = self._directory / "jaeger.yaml"
        configuration.write_text(yaml.safe_dump(self._configuration()))
        with (self._directory / "jaeger.log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "--config", configuration], stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._answers, "Jaeger answers", timeout=START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def find(self, service: str, **tags: str) -> list[Trace]:
        """The traces with a span of this service that has these tags: what its search page finds."""
        query = urllib.parse.urlencode({"service": service, "tags": json.dumps(tags), "lookback": "1h"})
        return [_trace(each) for each in self._ask(f"/api/traces?{query}")["data"]]

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._query}{path}", timeout=10) as answer:
            return json.load(answer)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self._directory / "jaeger.log").read_text()[-3000:]
        try:
            return "data" in self._ask("/api/services")
        except urllib.error.URLError:
            return False

    def _configuration(self) -> dict[str, Any]:
        receiver = {"grpc": {"endpoint": f"127.0.0.1:{self._grpc}"}, "http": {"endpoint": f"127.0.0.1:{self._http}"}}
        query = {
            "storage": {"traces": "memory"},
            "http": {"endpoint": f"127.0.0.1:{self._query}"},
            "grpc": {"endpoint": "127.0.0.1:0"},
        }
        return {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1000}}}},
                "jaeger_query": query,
            },
            "receivers": {"otlp": {"protocols": receiver}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        }


def _trace(reported: dict[str, Any]) -> Trace:
    spans = [_span(each, reported["processes"]) for each in reported["spans"]]
    warnings = [each for span in reported["spans"] for each in span.get("warnings") or []]
    return Trace(reported["traceID"], spans, warnings, json.dumps(reported))


def _span(reported: dict[str, Any], processes: dict[str, Any]) -> Recorded:
    parents = [each["spanID"] for each in reported["references"] if each["refType"] == "CHILD_OF"]
    return Recorded(
        name=reported["operationName"],
        span_id=reported["spanID"],
        parent_id="".join(parents),
        service=processes[reported["processID"]]["serviceName"],
        began=reported["startTime"],
        tags={each["key"]: each["value"] for each in reported["tags"]},
    )
