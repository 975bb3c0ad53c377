"""Measurements of services at one moment."""

import dataclasses
from collections.abc import Mapping

import msgspec

from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable

ServiceName = tuple[str, str]
"""Namespace and name of an LLMService."""

Owned = Mapping[ServiceName, Mapping[str, frozenset[str]]]
"""The pods that the operator created, by service and name, with their current and recent addresses. Every service is in
it, also those without pods."""

MOST = 1e9
"""Largest number of requests, of requests per second, of tokens per second and of pods that a service can have. Sums of
a few such numbers stay finite and small."""


class Signals(msgspec.Struct, frozen=True, gc=False):
    """One service over the last window, all its replicas together."""

    latencies: Mapping[Latency, Mapping[int, float]]
    """Seconds by percentile. A latency without observations in the window is left out: there were no requests, or none
    got that far."""
    finished_per_second: float
    """Requests that ended, per second."""
    running: float
    """Requests in the engines' batches now."""
    waiting: float
    """Requests in the engines' queues now."""
    pods: int
    """Pods with series."""
    generated_per_second: float | None = None
    """Generated tokens per second; None if unknown. Decisions do not use it."""


@dataclasses.dataclass(frozen=True)
class SeriesLabels:
    """How the engines' series name pods: the platform's settings."""

    namespace: str = "namespace"
    """The label with the pod's namespace."""
    pod: str = "pod"
    """The label with the pod's name."""
    matchers: str = ""
    """PromQL matchers that every series must meet; empty for none."""


USUAL_LABELS = SeriesLabels()


@dataclasses.dataclass(frozen=True)
class UnmatchedSeries:
    """One series of an engine that counts for no service."""

    kind: str
    """Why: a value of KIND in prometheus_queries."""
    labels: str
    """Its labels as PromQL writes them, without its name."""
    namespace: str
    """The namespace that it names; empty if it names none."""
    absent: tuple[str, ...] = ()
    """Of the labels for namespace and pod, those that it does not have."""
    known: tuple[str, ...] = ()
    """Labels that it has of those by which pods are usually named."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """One read of Prometheus, for all services."""

    signals: Mapping[ServiceName, Signals]
    """Services with usable series."""
    gap: MetricsUnavailable | None = None
    """Why nothing could be read; then ``signals`` is empty."""
    gaps: Mapping[ServiceName, MetricsUnavailable] = dataclasses.field(default_factory=dict)
    """Services whose series can't be used: stale, or not numbers."""
    absent: Mapping[ServiceName, Mapping[Latency, MetricsUnavailable]] = dataclasses.field(default_factory=dict)
    """Of services with ``signals``: latencies of which no percentile, or not every one, can be told, and why."""
    unmatched: tuple[UnmatchedSeries, ...] = ()
    """Series of engines that count for no service, one of each kind."""
    any_engine: bool = True
    """Whether Prometheus has series of any engine whose labels name a pod."""
    scraped: Mapping[ServiceName, bool] = dataclasses.field(default_factory=dict)
    """Of services without series whose pods Prometheus scrapes: whether the last scrape of each pod was successful."""
