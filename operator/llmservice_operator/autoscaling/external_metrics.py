"""Names and labels of a service's external metrics, the same in the HPA, the metrics API and Prometheus."""

from enum import StrEnum

from llmservice_operator.autoscaling.latency import Latency

API_GROUP = "external.metrics.k8s.io"
API_VERSION = "v1beta1"
API_SERVICE = f"{API_VERSION}.{API_GROUP}"
"""Name of the APIService: one per cluster."""


class Adapter(StrEnum):
    """Which component serves a service's load to its autoscaler."""

    OWN = "own"
    """The operator serves external.metrics.k8s.io itself."""
    KEDA = "keda"
    """KEDA reads the operator's series from Prometheus."""
    PROMETHEUS_ADAPTER = "prometheusAdapter"
    """prometheus-adapter serves the operator's series from Prometheus."""
    NONE = "none"
    """None: no autoscaler is created."""


LOAD = "llmservice_load_percent"
"""The HPA's metric: the load of all replicas, in percent of what one replica can serve within its targets."""
LATENCIES = {
    Latency.TIME_TO_FIRST_TOKEN: "llmservice_time_to_first_token_seconds",
    Latency.INTER_TOKEN_LATENCY: "llmservice_inter_token_latency_seconds",
    Latency.REQUEST_LATENCY: "llmservice_request_latency_seconds",
}
"""The percentiles, one series each, with the label PERCENTILE_LABEL."""

COST_PER_HOUR = "llmservice_cost_per_hour"
"""Cost per hour of the GPUs that a service has now, with the label CURRENCY_LABEL; only in Prometheus."""
COST_PER_MILLION_TOKENS = "llmservice_cost_per_million_tokens"
"""Cost of a million generated tokens at the last measured throughput; otherwise like COST_PER_HOUR."""

CONDITION = "llmservice_condition"
"""1 for each condition of a service, with the labels ``type``, ``status`` and ``reason``; only in Prometheus, as all
below."""
REPLICAS = "llmservice_replicas"
"""Replicas of a service by the label ``state``: ``desired``, ``current``, ``ready``."""
TARGET = "llmservice_latency_target_seconds"
"""A latency target of a service, with the labels LATENCY_LABEL and PERCENTILE_LABEL."""
OBJECTIVE = "llmservice_latency_objective_ratio"
"""The share of requests that must meet a target: 0.99 for p99. ``le``: the bound of the engines' histogram that counts
them, the first one that is not below the target."""

SERVICE_LABEL = "llmservice"
"""Label of every series: the name of the service."""
NAMESPACE_LABEL = "llmservice_namespace"
"""Only in Prometheus: the namespace of the service. The label ``namespace`` there is that of the scraped pod."""
PERCENTILE_LABEL = "percentile"
"""Label of a latency: p50, p90, p95 or p99."""

LATENCY_LABEL = "latency"
"""Label of a target: timeToFirstToken, interTokenLatency or requestLatency."""

CURRENCY_LABEL = "currency"

TARGET_LOAD = 100
"""Target of LOAD per replica (averageValue): N replicas can handle N times this."""
