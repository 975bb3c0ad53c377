"""Why a service's load is not known, or can't be acted on: what the condition ScalingActive says while it is False."""

import dataclasses

NO_PROMETHEUS = "NoPrometheus"
"""No URL of a Prometheus is configured."""
PROMETHEUS_UNREACHABLE = "PrometheusUnreachable"
"""No connection, a TLS failure, or an answer that is not Prometheus's."""
PROMETHEUS_TIMEOUT = "PrometheusTimeout"
"""Prometheus did not answer in time."""
PROMETHEUS_REFUSED = "PrometheusRefused"
"""Prometheus refuses the credentials or the query (401, 403, 422, ...)."""
NO_SERIES = "NoSeries"
"""Prometheus has no series of this service's pods."""
LABELS_MATCH_NO_POD = "LabelsMatchNoPod"
"""There are series of engines, and their labels name no pod of a service."""
STALE_SERIES = "StaleSeries"
"""The newest sample is too old."""
NOT_A_NUMBER = "NotANumber"
"""Prometheus answers NaN or infinity."""
METRICS_INVALID = "MetricsInvalid"
"""The numbers can't be those of this service, or no count can be decided from them."""
ADAPTER_UNAVAILABLE = "AdapterUnavailable"
"""The API server gets no answer from the operator's metrics API."""
METRICS_API_TAKEN = "MetricsAPITaken"
"""Somebody else serves external.metrics.k8s.io."""


@dataclasses.dataclass(frozen=True)
class MetricsUnavailable:
    """One thing that is missing."""

    reason: str
    """One of this module's constants."""
    message: str
    """For people: what is the matter, where, what to do."""
