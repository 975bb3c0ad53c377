"""What a real Prometheus scrapes of the good engines and of hostile pods, on one page: its labels are those that
Prometheus itself attaches in a cluster.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence

from hostile_parts.metrics_cases import HISTOGRAM, RUNNING_METRIC, WAITING_METRIC, Scraped
from llmservice_contract.metrics import BUCKETS
from support.prometheus_server import Exporter

BOUNDS = BUCKETS["time_to_first_token"]
"""The runtime's own: others count for nothing."""
NAMES = (*map(repr, BOUNDS), "+Inf")
FINISHED = "vllm:request_success_total"
GENERATED = "vllm:generation_tokens_total"
REQUESTS_PER_SECOND = 4.0


class Pages(Exporter):
    """The page. ``change`` says which hostile series there are and which bound the latencies of good engines are
    below from now on."""

    def __init__(self, namespace: str, services: Sequence[str]) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._pods = [
            {"namespace": namespace, "pod": f"{name}-0", "engine": "0", "model_name": "m"} for name in services
        ]
        self._counts = [1000.0] * len(NAMES)
        self._hostile: Sequence[Scraped] = ()
        self._step = 0
        self._since = self._began = time.monotonic()

    def change(self, hostile: Sequence[Scraped], step: int) -> None:
        """From the next scrape on."""
        with self._lock:
            self._counts = self._now()
            self._since, self._hostile, self._step = time.monotonic(), hostile, step

    def page(self) -> str:
        """In Prometheus' text format."""
        with self._lock:
            counts, hostile = self._now(), self._hostile
        age = time.monotonic() - self._began
        lines = [self._good(pod, counts) for pod in self._pods]
        lines += [_line(each.metric, each.labels, each.value + each.rate * age) for each in hostile]
        return "".join(lines)

    def _now(self) -> list[float]:
        """The histogram's cumulative counts."""
        more = REQUESTS_PER_SECOND * (time.monotonic() - self._since)
        return [count + (more if place >= self._step else 0) for place, count in enumerate(self._counts)]

    def _good(self, pod: dict[str, str], counts: list[float]) -> str:
        lines = [_line(RUNNING_METRIC, pod, 1.0), _line(WAITING_METRIC, pod, 0.0)]
        lines += [_line(FINISHED, pod | {"finished_reason": "stop"}, counts[-1]), _line(GENERATED, pod, counts[-1])]
        pairs = zip(NAMES, counts, strict=True)
        lines += [_line(f"{HISTOGRAM}_bucket", pod | {"le": bound}, count) for bound, count in pairs]
        return "".join([*lines, _line(f"{HISTOGRAM}_count", pod, counts[-1])])


def _line(metric: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f"{name}={json.dumps(text)}" for name, text in sorted(labels.items()))
    return f"{metric}{{{inner}}} {'NaN' if value != value else repr(value)}\n"
