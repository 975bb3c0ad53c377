"""The metrics of many engines on one page, as vLLM exposes them, for a real Prometheus to scrape.

Each series has the labels that Prometheus would add, by which the operator finds it.
"""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from support.prometheus_server import Exporter

LATENCIES = {
    "time_to_first_token": "vllm:time_to_first_token_seconds",
    "inter_token_latency": "vllm:inter_token_latency_seconds",
    "request_latency": "vllm:e2e_request_latency_seconds",
}
"""Histograms by vLLM's name for their family."""


class Engines(Exporter):
    """An exporter of engines; what a test sets by hand (``set``) comes after their series."""

    def __init__(
        self, buckets: dict[str, Sequence[float]], namespace_label: str = "namespace", pod_label: str = "pod"
    ) -> None:
        super().__init__()
        self._registry = CollectorRegistry()
        self.labels = (namespace_label, pod_label, "model_name", "engine")
        self._histograms = {
            family: Histogram(name, "", self.labels, registry=self._registry, buckets=buckets[family])
            for family, name in LATENCIES.items()
        }
        queue_time = "vllm:request_queue_time_seconds"
        self._queue_time = Histogram(queue_time, "", self.labels, registry=self._registry, buckets=(1.0,))
        self._running = Gauge("vllm:num_requests_running", "", self.labels, registry=self._registry)
        self._waiting = Gauge("vllm:num_requests_waiting", "", self.labels, registry=self._registry)
        self._kv_cache = Gauge("vllm:kv_cache_usage_perc", "", self.labels, registry=self._registry)
        self._generated = Counter("vllm:generation_tokens", "", self.labels, registry=self._registry)
        finished = (*self.labels, "finished_reason")
        self._finished = Counter("vllm:request_success", "", finished, registry=self._registry)

    def engine(
        self,
        namespace: str,
        pod: str,
        running: float = 0,
        waiting: float = 0,
        kv_cache: float = 0,
        rank: str = "0",
    ) -> None:
        """This engine is there, with these gauges; its counts begin at 0. `rank`: of several engines of one pod."""
        labels = (namespace, pod, "tiny", rank)
        self._running.labels(*labels).set(running)
        self._waiting.labels(*labels).set(waiting)
        self._kv_cache.labels(*labels).set(kv_cache)
        self._generated.labels(*labels)
        for reason in ("stop", "length", "abort"):
            self._finished.labels(*labels, reason)
        for histogram in (self._queue_time, *self._histograms.values()):
            histogram.labels(*labels)

    def observe(self, namespace: str, pod: str, family: str, times: Iterable[float], rank: str = "0") -> None:
        """So many requests took so long; they ended with `stop` where these are the times of whole requests."""
        labels = (namespace, pod, "tiny", rank)
        for seconds in times:
            self._histograms[family].labels(*labels).observe(seconds)
            if family == "request_latency":
                self._finished.labels(*labels, "stop").inc()

    def queued(self, namespace: str, pod: str, seconds: float) -> None:
        """A request has waited so long in its queue."""
        self._queue_time.labels(namespace, pod, "tiny", "0").observe(seconds)

    def generate(self, namespace: str, pod: str, tokens: int) -> None:
        """It has generated so many tokens more."""
        self._generated.labels(namespace, pod, "tiny", "0").inc(tokens)

    def page(self) -> str:
        """The engines' series, and those set by hand."""
        return generate_latest(self._registry).decode() + super().page()
