"""Converts the responses of Prometheus to the signals of each service. Invalid data make metrics unavailable, never
zero.

The result has only services that the operator knows, and of these only those with series of pods that the operator
created, because sums in Prometheus can't be separated again. A histogram that one pod lacks is absent for its service.
"""

import dataclasses
import ipaddress
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from llmservice_operator.autoscaling.histogram import Histogram, HistogramError, Percentiles, exact_percentiles
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.metrics_unavailable import (
    METRICS_INVALID,
    NO_SERIES,
    NOT_A_NUMBER,
    STALE_SERIES,
    MetricsUnavailable,
)
from llmservice_operator.autoscaling.prometheus_answers import Row, clip
from llmservice_operator.autoscaling.prometheus_queries import (
    FINISHED,
    FINISHED_METRIC,
    GENERATED,
    HISTOGRAMS,
    INSTANCE,
    MEAN_IN_FLIGHT,
    MEAN_WAITING,
    MOST_PODS,
    NATIVE,
    NO_BUCKETS,
    NO_WAITING,
    PODS,
    RUNNING,
    RUNNING_METRIC,
    SERVICE,
    SIGNAL,
    WAITING,
    WAITING_METRIC,
)
from llmservice_operator.autoscaling.signals import MOST, Owned, Reading, ServiceName, Signals
from llmservice_operator.autoscaling.unmatched_series import unmatched_series

MOST_WITHOUT_SERIES = 50
"""Services without series for which Prometheus is asked whether it scrapes their pods."""
_MOST_BOUNDS = 8
"""Maximum number of missing bucket bounds in a message."""

Measured = Mapping[ServiceName, Percentiles | None]
"""One latency of all services: its percentiles; None if they are invalid."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """The answers to ``queries()``."""

    latencies: Mapping[Latency, Measured]
    flow: Iterable[Row]
    ages: Iterable[Row]
    unmatched: Iterable[Row]
    kept: Mapping[Latency, Measured] = dataclasses.field(default_factory=dict)
    """Of an earlier read: used for services that have requests now."""


def measured(histograms: Mapping[ServiceName, Histogram], engine_bounds: Sequence[float] = ()) -> Measured:
    """The percentiles of each service that are as exact as with all buckets of the engines."""
    return {name: _percentiles(histogram, engine_bounds) for name, histogram in histograms.items()}


@dataclasses.dataclass(frozen=True)
class _Scraped:
    """One pod as it was scraped at one address."""

    pod: str
    instance: str
    age: float
    """Age of its newest sample in seconds."""


def read(
    answers: Answers,
    window: int,
    namespace_label: str = "namespace",
    pod_label: str = "pod",
    owned: Owned | None = None,
) -> Reading:
    """The reading of the answers to ``queries()`` with the same arguments. ``owned``: the services and their pods; None
    accepts every service and pod, for tools without access to the cluster."""
    flows: dict[ServiceName, dict[str, float]] = defaultdict(dict)
    for row in answers.flow:
        name = row.labels.get(namespace_label, ""), row.labels.get(SERVICE, "")
        if all(name) and (owned is None or name in owned):
            flows[name][row.labels.get(SIGNAL, "")] = row.value
    ages = tuple(answers.ages)
    scraped, over_limit = _scraped(ages, namespace_label, pod_label, owned)
    signals: dict[ServiceName, Signals] = {}
    gaps: dict[ServiceName, MetricsUnavailable] = {}
    absent: dict[ServiceName, Mapping[Latency, MetricsUnavailable]] = {}
    for name, flow in flows.items():
        foreign = None if owned is None else _foreign(name, scraped.get(name, ()), owned[name], window)
        if foreign is None and name[0] in over_limit:
            foreign = _too_many_pods(name)
        if foreign is not None:
            gaps[name] = foreign
            continue
        latencies = {one: by_name[name] for one, by_name in answers.latencies.items() if name in by_name}
        if any(each is not None and (each.values or each.missing) for each in latencies.values()):
            latencies |= {one: by_name[name] for one, by_name in answers.kept.items() if name in by_name}
        lacking = _absent(name, flow, latencies)
        found = _signals(name, flow, {one: each for one, each in latencies.items() if not _lacks(flow, one)}, window)
        if not isinstance(found, Signals):
            gaps[name] = found
            continue
        signals[name] = found
        if lacking:
            absent[name] = lacking
    for name, pods in scraped.items():
        stale = [each.pod for each in pods if each.age > window and (owned is None or each.pod in owned[name])]
        if stale and name not in flows:
            gaps[name] = _too_old(name, min(stale), window)
    return Reading(
        signals,
        gaps=gaps,
        absent=absent,
        unmatched=unmatched_series(answers.unmatched, namespace_label, pod_label),
        any_engine=bool(ages),
    )


def without_series(reading: Reading, owned: Owned) -> Sequence[ServiceName]:
    """Some services that have pods and no series at all; always the same ones."""
    known = reading.signals.keys() | reading.gaps.keys()
    return sorted(name for name, pods in owned.items() if pods and name not in known)[:MOST_WITHOUT_SERIES]


def scraped(
    rows: Iterable[Row], namespace_label: str = "namespace", pod_label: str = "pod"
) -> Mapping[ServiceName, bool]:
    """Of the answer to ``scrapes()``: whether the last scrape of each pod of a service was successful."""
    found: dict[ServiceName, bool] = {}
    for row in rows:
        service = row.labels.get(pod_label, "").rpartition("-")[0]
        name = row.labels.get(namespace_label, ""), service
        found[name] = found.get(name, True) and row.value == 1
    return found


def _lacks(flow: Mapping[str, float], latency: Latency) -> bool:
    """Whether pods of the service lack buckets of this latency although they have other series."""
    return flow.get(NO_BUCKETS[latency], 0.0) != 0


def _absent(
    name: ServiceName, flow: Mapping[str, float], latencies: Mapping[Latency, Percentiles | None]
) -> Mapping[Latency, MetricsUnavailable]:
    """Why each latency is absent, if it is."""
    found = {}
    for latency in Latency:
        measured = latencies.get(latency)
        if _lacks(flow, latency):
            found[latency] = _no_buckets(name, latency, native=NATIVE[latency] in flow)
        elif measured is not None and measured.missing:
            found[latency] = _few_buckets(name, latency, measured.missing)
    return found


def _no_buckets(name: ServiceName, latency: Latency, native: bool) -> MetricsUnavailable:
    histogram = HISTOGRAMS[latency]
    text = (
        f"Prometheus has {FINISHED_METRIC} of {_pods(name)}, but of at least one of them no {histogram}_bucket, with "
    )
    text += 'the bound le="+Inf" among them'
    if native:
        advice = (
            f"It keeps {histogram} as a native histogram, which the operator does not read. Set "
            "convert_classic_histograms_to_nhcb: false, or always_scrape_classic_histograms: true, in the scrape job "
            "of the engines"
        )
    else:
        advice = (
            "Keep these series, under these names: look for a drop or a rename in metric_relabel_configs of the scrape "
            "job (metricRelabelings of a PodMonitor), in write_relabel_configs and in what forwards the series"
        )
    return MetricsUnavailable(NO_SERIES, f"{text}, so {latency.value} is not known. {advice}.")


def _few_buckets(name: ServiceName, latency: Latency, missing: Sequence[float]) -> MetricsUnavailable:
    named = ", ".join(f'le="{bound!r}"' for bound in missing[:_MOST_BOUNDS])
    more = f" and {len(missing) - _MOST_BOUNDS} more" if len(missing) > _MOST_BOUNDS else ""
    return MetricsUnavailable(
        NO_SERIES,
        f"Prometheus has only some of the buckets of {HISTOGRAMS[latency]}_bucket of {_pods(name)}: {named}{more} are "
        f"missing, and {latency.value} lies between them. Keep every bucket of this histogram: look for a rule in "
        "metric_relabel_configs (metricRelabelings of a PodMonitor) that drops values of le.",
    )


def _scraped(
    rows: Iterable[Row], namespace_label: str, pod_label: str, owned: Owned | None
) -> tuple[Mapping[ServiceName, list[_Scraped]], frozenset[str]]:
    """The pods of each service, and the namespaces that may have more pods than the answer."""
    found: dict[ServiceName, list[_Scraped]] = defaultdict(list)
    count: dict[str, int] = defaultdict(int)
    for row in rows:
        namespace, pod = row.labels.get(namespace_label, ""), row.labels.get(pod_label, "")
        count[namespace] += 1
        service, _, ordinal = pod.rpartition("-")
        if namespace and service and ordinal.isdecimal() and (owned is None or (namespace, service) in owned):
            found[namespace, service].append(_Scraped(pod, row.labels.get(INSTANCE, ""), row.value))
    return found, frozenset(namespace for namespace, rows_of in count.items() if rows_of >= MOST_PODS)


def _foreign(
    name: ServiceName, scraped: Iterable[_Scraped], pods: Mapping[str, frozenset[str]], window: int
) -> MetricsUnavailable | None:
    """Why a service with fresh series of unknown pods has no metrics. The same series give the same message."""
    fresh = sorted((each.pod, each.instance) for each in scraped if not each.age > window)
    unknown = [pod for pod, _ in fresh if pod not in pods]
    if unknown:
        return MetricsUnavailable(
            METRICS_INVALID,
            f"Prometheus has series of pod {name[0]}/{clip(unknown[0])}, which the operator did not create. Delete or "
            "rename that pod; if it doesn't exist, another pod's metrics name it: see docs/scaling.md, Which labels "
            "are trusted.",
        )
    for pod, instance in fresh:
        address = _address(instance)
        if address and pods[pod] and address not in pods[pod]:
            return MetricsUnavailable(
                METRICS_INVALID,
                f"Prometheus has series that name pod {name[0]}/{pod} and were scraped at {address}, which is not that "
                f"pod's address ({', '.join(sorted(pods[pod]))}). Another pod's metrics name it: see docs/scaling.md, "
                "Which labels are trusted.",
            )
    return None


def _address(instance: str) -> str:
    """The canonical IP address of ADDRESS:PORT; empty for a name or anything else."""
    host = instance.rpartition(":")[0] if ":" in instance else instance
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return ""


def _too_many_pods(name: ServiceName) -> MetricsUnavailable:
    return MetricsUnavailable(
        METRICS_INVALID,
        f"Prometheus has series of engines of {MOST_PODS} pods or more in namespace {name[0]}, and the operator "
        f"can't determine their services. Find them with the query count by (pod) (vllm:num_requests_running).",
    )


def _signals(
    name: ServiceName,
    flow: Mapping[str, float],
    latencies: Mapping[Latency, Percentiles | None],
    window: int,
) -> Signals | MetricsUnavailable:
    if RUNNING not in flow:
        return _missing(name, RUNNING_METRIC)
    if WAITING not in flow or flow.get(NO_WAITING):
        return _missing(name, WAITING_METRIC)
    if FINISHED not in flow:
        return MetricsUnavailable(
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
        return MetricsUnavailable(
            METRICS_INVALID,
            f"Prometheus returns {', '.join(sorted(bad))} for {_pods(name)}; the operator accepts numbers from 0 to "
            f"{MOST:g}. Check their /metrics, and the recording rules and relabeling in Prometheus.",
        )
    found: dict[Latency, Mapping[int, float]] = {}
    for latency, measured in latencies.items():
        if measured is None:
            return _no_number(name, f"the histogram {HISTOGRAMS[latency]} of")
        if measured.values:
            found[latency] = measured.values
    return Signals(
        latencies=found,
        finished_per_second=flow[FINISHED],
        running=flow[RUNNING],
        waiting=flow[WAITING],
        pods=round(flow.get(PODS, 0.0)),
        generated_per_second=generated if 0 <= generated <= MOST else None,
        mean_in_flight=_mean(flow, MEAN_IN_FLIGHT),
        mean_waiting=_mean(flow, MEAN_WAITING),
    )


def _mean(flow: Mapping[str, float], signal: str) -> float:
    """A mean over the window; 0 if it is absent or not valid: it only adds to what the gauges show."""
    value = flow.get(signal, 0.0)
    return value if 0 <= value <= MOST else 0.0


def _percentiles(histogram: Histogram, engine_bounds: Sequence[float]) -> Percentiles | None:
    try:
        return exact_percentiles(histogram, engine_bounds)
    except HistogramError:
        return None


def _pods(name: ServiceName) -> str:
    return f"the pods {name[1]}-* in namespace {name[0]}"


def _too_old(name: ServiceName, pod: str, window: int) -> MetricsUnavailable:
    return MetricsUnavailable(
        STALE_SERIES,
        f"The newest sample of pod {name[0]}/{pod} in Prometheus is older than {window} s. Check whether Prometheus "
        f"still scrapes it (page Targets), and whether the clocks of Prometheus and the operator agree.",
    )


def _missing(name: ServiceName, metric: str) -> MetricsUnavailable:
    return MetricsUnavailable(
        NO_SERIES,
        f"Prometheus has series of {_pods(name)}, but of at least one of them no recent {metric}. Keep this series: "
        "look for a drop or a rename in metric_relabel_configs of the scrape job (metricRelabelings of a PodMonitor), "
        "in write_relabel_configs and in what forwards the series.",
    )


def _no_number(name: ServiceName, what: str) -> MetricsUnavailable:
    return MetricsUnavailable(
        NOT_A_NUMBER,
        f"Prometheus returns no finite number for {what} {_pods(name)}. Check their /metrics, and the recording "
        f"rules and relabeling in Prometheus.",
    )
