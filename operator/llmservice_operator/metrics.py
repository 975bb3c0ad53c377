"""The operator's own metrics, in the Prometheus text format on LLMSERVICE_METRICS_PORT.

Few, each with a question that it answers. Of the operator's own only what takes too long is labelled by service, and
few services: what concerns one is in its status. The numbers that services are scaled by, and what they cost, are
exported beside them.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics
from prometheus_client.registry import Collector

disable_created_metrics()

REGISTRY = CollectorRegistry()

logger = logging.getLogger(__name__)

RECONCILES = Counter(
    "llmservice_operator_reconciles_total",
    "Looks at one service, by how they ended: ok, or the name of the error.",
    ["result"],
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "llmservice_operator_reconcile_seconds",
    "How long one look at one service took, in seconds, its writes included.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 120),
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge(
    "llmservice_operator_queue_depth",
    "Services that wait for a worker. Above zero for long: too few workers or a slow API server.",
    registry=REGISTRY,
)
API_WRITES = Counter(
    "llmservice_operator_api_writes_total",
    "Requests that write, by kind and verb; Lease renewals are not counted. Stands still where nothing changes.",
    ["kind", "verb"],
    registry=REGISTRY,
)
API_ERRORS = Counter(
    "llmservice_operator_api_errors_total",
    "Requests to the API server that failed, by the error's name. Not found on a look-up is no failure.",
    ["error"],
    registry=REGISTRY,
)
LEADER = Gauge(
    "llmservice_operator_leader",
    "1 while this process holds the Lease and acts, 0 on a standby.",
    registry=REGISTRY,
)
SERVICES = Gauge(
    "llmservice_operator_services",
    "Services by the reason of their condition Ready.",
    ["ready", "reason"],
    registry=REGISTRY,
)
EVENTS_SEEN = Counter(
    "llmservice_operator_watch_events_total",
    "Watch events and listed objects that were taken in, by kind.",
    ["kind"],
    registry=REGISTRY,
)
SWEPT = Counter(
    "llmservice_operator_swept_total",
    "Objects that the sweep found gone or changed without a watch event. Above zero: events were lost.",
    ["kind"],
    registry=REGISTRY,
)
ESTIMATES = Counter(
    "llmservice_operator_estimates_total",
    "Memory estimates that were worked out, by how they ended: ok, or none where there was no answer in time.",
    ["result"],
    registry=REGISTRY,
)
PLAN_CPU_SECONDS = Histogram(
    "llmservice_operator_plan_cpu_seconds",
    "CPU that one plan for one service took, in seconds. Up to 0.1 is allowed.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
PLANS_OVER_BUDGET = Counter(
    "llmservice_operator_plans_over_budget_total",
    "Plans that took more CPU than is allowed, by service: the first 50 by name, all others as one.",
    ["namespace", "service"],
    registry=REGISTRY,
)
SCALING_SECONDS = Histogram(
    "llmservice_operator_scaling_seconds",
    "How long one decision on all services took, in seconds, the look at Prometheus included.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)

PROMETHEUS_SECONDS = Histogram(
    "llmservice_operator_prometheus_seconds",
    "How long one look at Prometheus took, in seconds: all its queries, and reading their answers.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
PROMETHEUS_READS = Counter(
    "llmservice_operator_prometheus_reads_total",
    "Looks at Prometheus, by how they ended: ok, or the reason why the load of every service is unknown.",
    ["result"],
    registry=REGISTRY,
)
PROMETHEUS_QUERIES = Counter(
    "llmservice_operator_prometheus_queries_total",
    "Queries sent to Prometheus. The same number for each look, however many services there are.",
    registry=REGISTRY,
)
METRICS_API_REQUESTS = Counter(
    "llmservice_operator_metrics_api_requests_total",
    "Requests that external.metrics.k8s.io has answered, by HTTP status.",
    ["code"],
    registry=REGISTRY,
)


class Exported(Collector):
    """Numbers of services, for who reads them from Prometheus: dashboards, KEDA, prometheus-adapter. ``series`` gives
    name, labels and value of each, ``page`` explains them."""

    def __init__(
        self, series: Callable[[], Iterable[tuple[str, Mapping[str, str], float]]], page: str = "docs/scaling.md"
    ) -> None:
        self._series = series
        self._page = page

    def collect(self) -> Iterator[Metric]:
        """One family for each name. An error ends these series, and no others: the page is one for all metrics."""
        families: dict[str, Metric] = {}
        try:
            for name, labels, value in self._series():
                if name not in families:
                    families[name] = Metric(name, f"See {self._page}.", "gauge")
                families[name].add_sample(name, dict(labels), value)
        except Exception:
            logger.exception("Not all series of services could be exported")
        yield from families.values()
