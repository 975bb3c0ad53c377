"""From Prometheus' answers to what is known of each service. What can't be used is a gap, never a zero."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from llmservice_operator.scaling.answers import Row, clip
from llmservice_operator.scaling.gaps import METRICS_INVALID, NO_SERIES, NOT_A_NUMBER, STALE_SERIES, Gap
from llmservice_operator.scaling.histogram import Histogram, HistogramError, percentiles
from llmservice_operator.scaling.latency import Latency
from llmservice_operator.scaling.queries import (
    FINISHED,
    GENERATED,
    HISTOGRAMS,
    PODS,
    RUNNING,
    SERVICE,
    SIGNAL,
    WAITING,
)
from llmservice_operator.scaling.signals import MOST, Reading, ServiceName, Signals

Measured = Mapping[ServiceName, Mapping[int, float] | None]
"""One latency of all services: seconds by percentile; nothing without requests, None for what are no numbers."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came back for ``queries()``."""

    latencies: Mapping[Latency, Measured]
    flow: Iterable[Row]
    stale: Iterable[Row]
    stranger: Iterable[Row]
    kept: Mapping[Latency, Measured] = dataclasses.field(default_factory=dict)
    """Of an earlier look: they count for services that have requests now."""


def measured(histograms: Mapping[ServiceName, Histogram]) -> Measured:
    """The percentiles of each service."""
    return {name: _percentiles(histogram) for name, histogram in histograms.items()}


def read(answers: Answers, window: int, namespace_label: str = "namespace", pod_label: str = "pod") -> Reading:
    """The reading that the answers to ``queries()`` with these same arguments amount to."""
    flows: dict[ServiceName, dict[str, float]] = defaultdict(dict)
    for row in answers.flow:
        namespace, service = row.labels.get(namespace_label, ""), row.labels.get(SERVICE, "")
        if namespace and service:
            flows[namespace, service][row.labels.get(SIGNAL, "")] = row.value
    signals: dict[ServiceName, Signals] = {}
    gaps: dict[ServiceName, Gap] = {}
    for name, flow in flows.items():
        latencies = {one: by_name[name] for one, by_name in answers.latencies.items() if name in by_name}
        if any(latencies.values()):
            latencies |= {one: by_name[name] for one, by_name in answers.kept.items() if name in by_name}
        found = _signals(name, flow, latencies, window)
        if isinstance(found, Signals):
            signals[name] = found
        else:
            gaps[name] = found
    for name, pod in _stale(answers.stale, namespace_label, pod_label).items():
        if name not in flows:
            gaps[name] = _too_old(name, pod, window)
    return Reading(signals, gaps=gaps, strangers=next((_selector(row) for row in answers.stranger), ""))


def _signals(
    name: ServiceName,
    flow: Mapping[str, float],
    latencies: Mapping[Latency, Mapping[int, float] | None],
    window: int,
) -> Signals | Gap:
    for signal, metric in ((RUNNING, "vllm:num_requests_running"), (WAITING, "vllm:num_requests_waiting")):
        if signal not in flow:
            return _missing(name, metric)
    if FINISHED not in flow:
        return Gap(
            NO_SERIES,
            f"Prometheus has fewer than two samples of {_pods(name)} within {window} s. They may have only just "
            "started; if not, scrape them more often, or raise scaling.prometheus.windowSeconds to at least four "
            "scrapes.",
        )
    generated = flow.get(GENERATED, math.nan)
    needed = {signal: flow[signal] for signal in (RUNNING, WAITING, FINISHED, PODS) if signal in flow}
    if bad := [signal for signal, value in needed.items() if not math.isfinite(value)]:
        return _no_number(name, f"{', '.join(sorted(bad))} of")
    if bad := [f"{signal} {value:g}" for signal, value in needed.items() if not 0 <= value <= MOST]:
        return Gap(
            METRICS_INVALID,
            f"Prometheus answers {', '.join(sorted(bad))} for {_pods(name)}; the operator takes numbers from 0 to "
            f"{MOST:g}. Look at their /metrics, and at recording rules and relabeling in Prometheus.",
        )
    found: dict[Latency, Mapping[int, float]] = {}
    for latency, values in latencies.items():
        if values is None:
            return _no_number(name, f"the histogram {HISTOGRAMS[latency]} of")
        if values:
            found[latency] = values
    return Signals(
        latencies=found,
        finished_per_second=flow[FINISHED],
        running=flow[RUNNING],
        waiting=flow[WAITING],
        pods=round(flow.get(PODS, 0.0)),
        generated_per_second=generated if 0 <= generated <= MOST else None,
    )


def _percentiles(histogram: Histogram) -> Mapping[int, float] | None:
    try:
        return percentiles(histogram)
    except HistogramError:
        return None


def _stale(rows: Iterable[Row], namespace_label: str, pod_label: str) -> Mapping[ServiceName, str]:
    """Of each service with stale pods the first of them by name."""
    found: dict[ServiceName, str] = {}
    for row in rows:
        namespace, pod = row.labels.get(namespace_label, ""), row.labels.get(pod_label, "")
        service, _, ordinal = pod.rpartition("-")
        if namespace and service and ordinal.isdecimal():
            found[namespace, service] = min(pod, found.get((namespace, service), pod))
    return found


def _selector(row: Row) -> str:
    labels = ", ".join(f"{name}={_quoted(value)}" for name, value in sorted(row.labels.items()) if name != "__name__")
    return f"{{{labels}}}"


def _quoted(value: str) -> str:
    escaped = clip(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _pods(name: ServiceName) -> str:
    return f"the pods {name[1]}-* in namespace {name[0]}"


def _too_old(name: ServiceName, pod: str, window: int) -> Gap:
    return Gap(
        STALE_SERIES,
        f"The newest sample of pod {name[0]}/{pod} in Prometheus is older than {window} s. See whether Prometheus "
        "still scrapes it (page Targets), and whether the clocks of Prometheus and the operator agree.",
    )


def _missing(name: ServiceName, metric: str) -> Gap:
    return Gap(NO_SERIES, f"Prometheus has no recent {metric} of {_pods(name)}. Is it dropped by a relabeling rule?")


def _no_number(name: ServiceName, what: str) -> Gap:
    return Gap(
        NOT_A_NUMBER,
        f"Prometheus answers no finite number for {what} {_pods(name)}. Look at their /metrics, and at recording rules "
        "and relabeling in Prometheus.",
    )
