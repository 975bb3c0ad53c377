"""The operator's own metrics, in the Prometheus text format on LLMSERVICE_METRICS_PORT.

Few, each with a question that it answers. Nothing is labelled by service: what concerns one service is in its status.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()

REGISTRY = CollectorRegistry()

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
