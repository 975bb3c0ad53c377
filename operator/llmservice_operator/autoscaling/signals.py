"""What was measured of the services at one moment."""

import dataclasses
from collections.abc import Mapping

import msgspec

from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable

ServiceName = tuple[str, str]
"""Namespace and name of an LLMService."""

Owned = Mapping[ServiceName, Mapping[str, frozenset[str]]]
"""The pods that the operator made, by service and name: the addresses that each has or had lately. Every service is in
it, those without pods too."""

MOST = 1e9
"""Largest number of requests, of requests per second, of tokens per second and of pods that a service can have. Sums of
a few such numbers stay finite and small."""


class Signals(msgspec.Struct, frozen=True, gc=False):
    """One service over the last window, all its replicas together."""

    latencies: Mapping[Latency, Mapping[int, float]]
    """Seconds by percentile. A latency that no request in the window had is left out: no requests, or none that got so
    far."""
    finished_per_second: float
    """Requests that ended, per second."""
    running: float
    """Requests that the engines compute now."""
    waiting: float
    """Requests that wait in the engines' queues now."""
    pods: int
    """Pods whose series were found."""
    generated_per_second: float | None = None
    """Tokens that the engines generated, per second; None where that is not known. It decides nothing."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """One look at Prometheus, for all services at once."""

    signals: Mapping[ServiceName, Signals]
    """Services with usable series."""
    gap: MetricsUnavailable | None = None
    """Why nothing could be read at all; then ``signals`` is empty."""
    gaps: Mapping[ServiceName, MetricsUnavailable] = dataclasses.field(default_factory=dict)
    """Services whose series are there and can't be used: stale, or no numbers."""
    strangers: str = ""
    """Labels of one engine's series that name no pod, as PromQL writes them; empty where all name one. They are words
    of somebody else: for the operator's log, and for services of ``strangers_namespace``."""
    strangers_namespace: str = ""
    """The namespace that these labels name; empty where they name none."""
