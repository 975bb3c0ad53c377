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
"""Maximum number of requests, requests per second, tokens per second and pods of a service. Sums of a few such numbers
stay finite."""


class Signals(msgspec.Struct, frozen=True, gc=False):
    """The signals of one service over the last window, for all replicas together."""

    latencies: Mapping[Latency, Mapping[int, float]]
    """Seconds by percentile. A latency without observations in the window is left out: there were no requests, or none
    got that far."""
    finished_per_second: float
    """Finished requests per second."""
    running: float
    """Requests in the engines' batches now."""
    waiting: float
    """Requests in the engines' queues now."""
    pods: int
    """Pods with series."""
    generated_per_second: float | None = None
    """Generated tokens per second; None if unknown. Decisions do not use it."""
    mean_in_flight: float = 0.0
    """Requests in flight, on average over the window: those that ended, by their latencies. 0 if unknown. Short bursts
    between two scrapes are in it, but not in ``running`` and ``waiting``."""
    mean_waiting: float = 0.0
    """The same of requests in the queues."""


@dataclasses.dataclass(frozen=True)
class SeriesLabels:
    """The labels with which the engines' series name pods: settings of the platform."""

    namespace: str = "namespace"
    """The label with the pod's namespace."""
    pod: str = "pod"
    """The label with the pod's name."""
    matchers: str = ""
    """PromQL label matchers for every series; empty for none."""


USUAL_LABELS = SeriesLabels()


@dataclasses.dataclass(frozen=True)
class UnmatchedSeries:
    """One series of an engine that counts for no service."""

    kind: str
    """Why: a value of KIND in prometheus_queries."""
    labels: str
    """Its labels in PromQL syntax, without its name."""
    namespace: str
    """The namespace in its labels; empty if there is none."""
    absent: tuple[str, ...] = ()
    """The labels for namespace and pod that it lacks."""
    known: tuple[str, ...] = ()
    """Other labels that usually name a pod and that it has."""


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
    """For services in ``signals``: latencies without some or all percentiles, and why."""
    unmatched: tuple[UnmatchedSeries, ...] = ()
    """Series of engines that count for no service, one of each kind."""
    any_engine: bool = True
    """Whether Prometheus has series of any engine whose labels name a pod."""
    scraped: Mapping[ServiceName, bool] = dataclasses.field(default_factory=dict)
    """Of services without series whose pods Prometheus scrapes: whether the last scrape of each pod was successful."""
