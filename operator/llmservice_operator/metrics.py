"""The operator's own metrics, in the Prometheus text format on LLMSERVICE_METRICS_PORT.

There are few, and each answers one question. Of those named llmservice_operator_…, only
llmservice_operator_plans_over_budget_total has labels for services, and only for the first 50. What dashboards, alerts
and autoscalers need of each service is exported as well: conditions, replicas and targets, the signals for autoscaling,
and costs.
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
    "Reconciliations by result: ok or the error class.",
    ["result"],
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "llmservice_operator_reconcile_seconds",
    "Duration of one reconciliation in seconds, including its writes.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 120),
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge(
    "llmservice_operator_queue_depth",
    "Services that wait for a worker. Above zero for long means too few workers or a slow API server.",
    registry=REGISTRY,
)
API_WRITES = Counter(
    "llmservice_operator_api_writes_total",
    "Write requests to the API server by kind and verb, without Lease renewals. Constant if nothing changes.",
    ["kind", "verb"],
    registry=REGISTRY,
)
API_ERRORS = Counter(
    "llmservice_operator_api_errors_total",
    "Failed requests to the API server by error class. A read that finds no object is not a failure.",
    ["error"],
    registry=REGISTRY,
)
API_REQUESTS = Counter(
    "llmservice_operator_api_requests_total",
    "Requests to the API server by method and HTTP status, without watches and Lease renewals. none: no response.",
    ["method", "code"],
    registry=REGISTRY,
)
API_SECONDS = Histogram(
    "llmservice_operator_api_seconds",
    "Duration of one of these requests in seconds.",
    ["method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
LEADER = Gauge(
    "llmservice_operator_leader",
    "1 if this process is the leader, 0 on a standby.",
    registry=REGISTRY,
)
SERVICES = Gauge(
    "llmservice_operator_services",
    "Services by status and reason of their condition Ready.",
    ["ready", "reason"],
    registry=REGISTRY,
)
EVENTS_SEEN = Counter(
    "llmservice_operator_watch_events_total",
    "Watch events and listed objects received, by kind.",
    ["kind"],
    registry=REGISTRY,
)
SWEPT = Counter(
    "llmservice_operator_swept_total",
    "Objects that the resync found deleted or changed without a watch event. Above zero means lost events.",
    ["kind"],
    registry=REGISTRY,
)
ESTIMATES = Counter(
    "llmservice_operator_estimates_total",
    "Memory estimates by result: ok, or none if there was no result in time.",
    ["result"],
    registry=REGISTRY,
)
PLAN_CPU_SECONDS = Histogram(
    "llmservice_operator_plan_cpu_seconds",
    "CPU seconds used to plan one service once. The budget is 0.1.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
PLANS_OVER_BUDGET = Counter(
    "llmservice_operator_plans_over_budget_total",
    "Plans that exceeded the CPU budget, by service: the first 50 services by name, all others as one.",
    ["namespace", "service"],
    registry=REGISTRY,
)
SCALING_SECONDS = Histogram(
    "llmservice_operator_scaling_seconds",
    "Duration of one scaling decision for all services in seconds, including reading Prometheus.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
SCALING_DECISIONS = Counter(
    "llmservice_operator_scaling_decisions_total",
    "Decisions on the replica count of a service: up, down, hold, or unavailable (no valid metrics, the count stays).",
    ["decision"],
    registry=REGISTRY,
)

PROMETHEUS_SECONDS = Histogram(
    "llmservice_operator_prometheus_seconds",
    "Duration of one read of Prometheus in seconds: all queries and parsing their responses.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
PROMETHEUS_READS = Counter(
    "llmservice_operator_prometheus_reads_total",
    "Reads of Prometheus by result: ok, or the reason why the metrics of all services are unavailable.",
    ["result"],
    registry=REGISTRY,
)
PROMETHEUS_QUERIES = Counter(
    "llmservice_operator_prometheus_queries_total",
    "Queries sent to Prometheus. Each read sends the same number, and one more while services have no series.",
    registry=REGISTRY,
)
METRICS_API_REQUESTS = Counter(
    "llmservice_operator_metrics_api_requests_total",
    "Requests answered by external.metrics.k8s.io, by HTTP status.",
    ["code"],
    registry=REGISTRY,
)

# With a series from the start, rates are known before the first event.
for _result in ("ok", "none"):
    ESTIMATES.labels(_result)
for _decision in ("up", "down", "hold", "unavailable"):
    SCALING_DECISIONS.labels(_decision)


class Exported(Collector):
    """Metrics of services, for dashboards, alerts, KEDA and prometheus-adapter. ``series`` yields name, labels and
    value of each; ``page`` is the documentation page in their HELP."""

    def __init__(
        self, series: Callable[[], Iterable[tuple[str, Mapping[str, str], float]]], page: str = "docs/scaling.md"
    ) -> None:
        self._series = series
        self._page = page

    def collect(self) -> Iterator[Metric]:
        """One metric family per name. An error omits only these series, because the page has all other metrics too."""
        families: dict[str, Metric] = {}
        try:
            for name, labels, value in self._series():
                if name not in families:
                    families[name] = Metric(name, f"See {self._page}.", "gauge")
                families[name].add_sample(name, dict(labels), value)
        except Exception:
            logger.exception("Could not export all series of services")
        yield from families.values()
