"""The metrics that services are scaled by, published to the API server through the metrics API and to Prometheus among
the operator's own metrics.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.autoscaling.signals import Signals
from llmservice_operator.controller.informer.store import ServiceKey
from llmservice_operator.controller.metrics_api.selectors import Selector
from llmservice_operator.controller.metrics_api.source import Sample, Unavailable

_LATENCY_OF = {name: latency for latency, name in external_metrics.LATENCIES.items()}


class Entry(msgspec.Struct, frozen=True, gc=False):
    """The published metrics of one service."""

    at: datetime.datetime
    load_milli: int | None
    """The load in thousandths of a percent; None if it is unknown."""
    gap: MetricsUnavailable | None
    """Why it is unknown."""
    signals: Signals | None


class ScalingMetricsStore:
    """One entry for each service that is scaled. ``fresh_seconds``: maximum age of a published entry.
    ``look`` is called before a service's entry is read, and may post a newer one."""

    def __init__(self, *, fresh_seconds: float, window_seconds: int, now: Callable[[], datetime.datetime]) -> None:
        self._fresh = datetime.timedelta(seconds=fresh_seconds)
        self._window = window_seconds
        self._now = now
        self._entries: dict[str, dict[str, Entry]] = {}
        self.look: Callable[[ServiceKey], None] = lambda key: None

    def post(self, key: ServiceKey, entry: Entry) -> None:
        """Publish ``entry`` from now on."""
        self._entries.setdefault(key[0], {})[key[1]] = entry

    def remove(self, key: ServiceKey) -> None:
        """Publish nothing more of this service."""
        inside = self._entries.get(key[0], {})
        inside.pop(key[1], None)
        if not inside:
            self._entries.pop(key[0], None)

    def names(self) -> Sequence[str]:
        """See MetricSource."""
        return (external_metrics.LOAD, *external_metrics.LATENCIES.values())

    def samples(self, namespace: str, metric: str, selector: Selector) -> Sequence[Sample]:
        """See MetricSource."""
        inside = self._entries.get(namespace, {})
        # An autoscaler asks for one service by name: the others are not read.
        asked = selector.values(external_metrics.SERVICE_LABEL)
        names = list(inside) if asked is None else [name for name in sorted(asked) if name in inside]
        if metric == external_metrics.LOAD:
            named = (name for name in names if selector.matches({external_metrics.SERVICE_LABEL: name}))
            return [self._load(namespace, name) for name in named]
        latency = _LATENCY_OF[metric]
        found = []
        for name in names:
            entry = inside[name]
            for percentile, seconds in (entry.signals.latencies.get(latency, {}) if entry.signals else {}).items():
                labels = {external_metrics.SERVICE_LABEL: name, external_metrics.PERCENTILE_LABEL: f"p{percentile}"}
                if selector.matches(labels):
                    found.append(Sample(metric, labels, round(seconds * 1000), entry.at, self._window))
        return found

    def exported(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """Every series for Prometheus: name, labels, value. Unknown values have no series."""
        for namespace, inside in self._entries.items():
            for name, entry in inside.items():
                labels = {external_metrics.NAMESPACE_LABEL: namespace, external_metrics.SERVICE_LABEL: name}
                if not self._is_fresh(entry):
                    continue
                if entry.load_milli is not None:
                    yield external_metrics.LOAD, labels, entry.load_milli / 1000
                for latency, percentiles in (entry.signals.latencies if entry.signals else {}).items():
                    for percentile, seconds in percentiles.items():
                        more = {**labels, external_metrics.PERCENTILE_LABEL: f"p{percentile}"}
                        yield external_metrics.LATENCIES[latency], more, seconds

    def _load(self, namespace: str, name: str) -> Sample:
        self.look((namespace, name))
        entry = self._entries[namespace][name]
        if entry.gap is not None:
            raise Unavailable(entry.gap.message)
        if entry.load_milli is None or not self._is_fresh(entry):
            raise Unavailable(f"the operator has made no scaling decision for {name} since {entry.at:%H:%M:%S} UTC")
        return Sample(
            external_metrics.LOAD, {external_metrics.SERVICE_LABEL: name}, entry.load_milli, entry.at, self._window
        )

    def _is_fresh(self, entry: Entry) -> bool:
        return self._now() - entry.at < self._fresh
