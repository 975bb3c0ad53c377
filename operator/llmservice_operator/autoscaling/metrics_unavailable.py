"""Why the metrics of a service are unavailable: the reasons of the condition ScalingActive with status False."""

import dataclasses

NO_PROMETHEUS = "NoPrometheus"
"""No URL of a Prometheus is configured."""
PROMETHEUS_UNREACHABLE = "PrometheusUnreachable"
"""No connection, a TLS failure, or a response that is not from Prometheus."""
PROMETHEUS_TIMEOUT = "PrometheusTimeout"
"""Prometheus did not respond in time."""
PROMETHEUS_REFUSED = "PrometheusRefused"
"""Prometheus refuses the credentials or the query (401, 403, 422, ...)."""
NO_SERIES = "NoSeries"
"""Prometheus lacks a series of this service's pods."""
LABELS_MATCH_NO_POD = "LabelsMatchNoPod"
"""Prometheus has series of engines, but their labels name no pod of a service."""
STALE_SERIES = "StaleSeries"
"""The newest sample is too old."""
NOT_A_NUMBER = "NotANumber"
"""Prometheus returns NaN or infinity."""
METRICS_INVALID = "MetricsInvalid"
"""The numbers can't be those of this service, or no count can be computed from them."""
ADAPTER_UNAVAILABLE = "AdapterUnavailable"
"""The API server gets no response from the operator's metrics API."""
METRICS_API_TAKEN = "MetricsAPITaken"
"""Another program serves external.metrics.k8s.io."""


@dataclasses.dataclass(frozen=True)
class MetricsUnavailable:
    """One cause."""

    reason: str
    """One of this module's constants."""
    message: str
    """What is wrong, where, and what to do."""
