"""Hostile metrics: answers of Prometheus that the pods of one tenant can cause. 38 kinds of rows in the answers, and 12
of scraped series that a real Prometheus sums.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from llmservice_operator.autoscaling import prometheus_queries

COUNT = 50
NAMESPACE, EVIL = "hostile", "evil"
TTFT, ITL, E2E = "timeToFirstToken", "interTokenLatency", "requestLatency"
Labels = Mapping[str, str]
Rows = Sequence[tuple[Labels, str]]
"""Labels and the value as it is sent."""


@dataclasses.dataclass(frozen=True)
class MetricsCase:
    """One case. ``answers`` gives the hostile rows of a query by its name, ``series`` what hostile pods are scraped
    for: one of both."""

    name: str
    family: str
    answers: Callable[[str], Rows] | None = None
    series: Sequence[Scraped] = ()


@dataclasses.dataclass(frozen=True)
class Scraped:
    """One series as Prometheus has it: a gauge, or a counter that grows each second by ``rate``."""

    metric: str
    labels: Labels
    value: float = 0.0
    rate: float = 0.0


def all_cases() -> tuple[MetricsCase, ...]:
    """Exactly COUNT of them, each by a name of its own."""
    found = (*_numbers(), *_histograms(), *_labels(), *_sizes(), *_series())
    names = {case.name for case in found}
    if len(found) != COUNT or len(names) != COUNT:
        raise ValueError(f"{len(found)} cases with {len(names)} names, not {COUNT}")
    return found


def service_labels(service: str = EVIL, namespace: str = NAMESPACE) -> dict[str, str]:
    """Of a row."""
    return {"namespace": namespace, prometheus_queries.SERVICE: service}


def flow(values: Mapping[str, str], service: str = EVIL, namespace: str = NAMESPACE) -> Rows:
    """The rows of FLOW for a service, the others usual ones."""
    usual = {
        prometheus_queries.RUNNING: "1",
        prometheus_queries.WAITING: "0",
        prometheus_queries.FINISHED: "1",
        prometheus_queries.PODS: "1",
    }
    labels = service_labels(service, namespace)
    return [({**labels, prometheus_queries.SIGNAL: signal}, value) for signal, value in (usual | dict(values)).items()]


def buckets(pairs: Sequence[tuple[str, str]], service: str = EVIL, namespace: str = NAMESPACE) -> Rows:
    """The rows of a histogram."""
    labels = service_labels(service, namespace)
    return [({**labels, "le": bound}, count) for bound, count in pairs]


_BOUNDS = sorted({bound for bounds in prometheus_queries.BOUNDS.values() for bound in bounds})
USUAL: Sequence[tuple[str, str]] = (*((repr(each), repr(min(1.0, 2 * each))) for each in _BOUNDS), ("+Inf", "1"))


def _of(flows: Rows, histogram: Rows | None = None) -> Callable[[str], Rows]:
    usual = buckets(USUAL)

    def answers(name: str) -> Rows:
        if name == prometheus_queries.FLOW:
            return flows
        if name in (TTFT, ITL, E2E):
            return usual if histogram is None else histogram
        return ()

    return answers


def _numbers() -> Iterator[MetricsCase]:
    """16 of them."""
    largest = repr(1.7e308)
    running, waiting, finished, pods = (
        prometheus_queries.RUNNING,
        prometheus_queries.WAITING,
        prometheus_queries.FINISHED,
        prometheus_queries.PODS,
    )
    values: Mapping[str, Mapping[str, str]] = {
        "sum-overflows": {running: largest, waiting: largest},
        "huge-running": {running: largest},
        "huge-finished": {finished: largest, running: "1e300"},
        "huge-pods": {pods: largest},
        "million-million": {running: "1e12", waiting: "1e12"},
        "nan-running": {running: "NaN"},
        "nan-pods": {pods: "NaN"},
        "infinite-waiting": {waiting: "+Inf"},
        "infinite-pods": {pods: "+Inf"},
        "minus-infinite": {finished: "-Inf"},
        "negative": {running: "-5", waiting: "-1e300"},
        "negative-finished": {finished: "-1e308"},
        "negative-pods": {pods: "-3"},
        "smallest": {running: "5e-324", finished: "5e-324"},
        "fraction-of-pods": {pods: "0.4999"},
        "generated-infinite": {prometheus_queries.GENERATED: "+Inf"},
    }
    for name, each in values.items():
        yield MetricsCase(name, "numbers", _of(flow(each)))


def _histograms() -> Iterator[MetricsCase]:
    """12 of them."""
    largest = repr(1.7e308)
    values: Mapping[str, Sequence[tuple[str, str]]] = {
        "decreasing": (("0.1", "9"), ("0.2", "5"), ("+Inf", "1")),
        "negative-counts": (("0.1", "-9"), ("0.2", "-5"), ("+Inf", "-1")),
        "nan-counts": (("0.1", "NaN"), ("+Inf", "NaN")),
        "infinite-counts": (("0.1", "+Inf"), ("+Inf", "+Inf")),
        "huge-counts": (("0.1", largest), ("0.2", largest), ("+Inf", largest)),
        "no-infinity": (("0.1", "1"), ("0.2", "2")),
        "bounds-are-words": (("abc", "1"), ("", "2"), ("\u0661", "3"), ("+Inf", "4")),
        "bounds-huge": (("1e308", "1"), ("1e309", "2"), ("+Inf", "3")),
        "bounds-negative": (("-1e308", "1"), ("-1", "2"), ("+Inf", "3")),
        "same-bound-often": tuple(("0.1", str(n)) for n in range(500)),
        "bounds-spelled-alike": (("0.1", "1"), ("0.10", "5"), ("1e-1", "2"), ("+Inf", "3")),
        "all-at-infinity": (("0.1", "0"), ("+Inf", "1e9")),
    }
    for name, each in values.items():
        yield MetricsCase(f"histogram-{name}", "histograms", _of(flow({}), buckets(each)))


def _labels() -> Iterator[MetricsCase]:
    """6 of them."""
    control = "evil\x00\x1b[2J\n\u202e"
    long = "x" * 200_000
    yield MetricsCase("label-control", "labels", _of(flow({}, control), buckets(USUAL, control)))
    yield MetricsCase("label-long", "labels", _of(flow({}, long), buckets(USUAL, long)))
    yield MetricsCase("label-absent", "labels", lambda _: [({}, "1e308"), ({"namespace": NAMESPACE}, "NaN")])
    yield MetricsCase(
        "signal-unknown", "labels", _of([({**service_labels(), prometheus_queries.SIGNAL: "drop"}, "NaN")])
    )
    yield MetricsCase(
        "rows-twice", "labels", _of([*flow({}), *flow({prometheus_queries.RUNNING: "9"})], [*buckets(USUAL)] * 2)
    )
    yield MetricsCase(
        "unknown-and-stale",
        "labels",
        lambda name: (
            [({"namespace": NAMESPACE, "pod": f"evil-{'9' * 5000}", "job": long}, "1")]
            if name in (prometheus_queries.AGES, prometheus_queries.UNMATCHED)
            else ()
        ),
    )


def _sizes() -> Iterator[MetricsCase]:
    """4 of them: long answers, below and above what the operator reads. The longest comes last: its namespace is left
    out for a while.
    """
    many = [
        ({**service_labels(f"evil-{n}"), prometheus_queries.SIGNAL: prometheus_queries.RUNNING}, "1")
        for n in range(30_000)
    ]
    yield MetricsCase("rows-30000-services", "sizes", lambda name: many if name == prometheus_queries.FLOW else ())
    pods = [({"namespace": NAMESPACE, "pod": f"evil-{n}"}, "1") for n in range(prometheus_queries.MOST_PODS)]
    yield MetricsCase("pods-at-the-limit", "sizes", lambda name: pods if name == prometheus_queries.AGES else ())
    instances = [({"namespace": NAMESPACE, "pod": "evil-0", "instance": "x" * 5000 + str(n)}, "1") for n in range(4000)]
    yield MetricsCase("instances-20-mib", "sizes", lambda name: instances if name == prometheus_queries.AGES else ())
    more = [
        ({**service_labels(f"evil-{n}-{'0' * 90}"), prometheus_queries.SIGNAL: prometheus_queries.RUNNING}, "1")
        for n in range(180_000)
    ]
    yield MetricsCase("answer-above-32-mib", "sizes", lambda name: more if name == prometheus_queries.FLOW else ())


HISTOGRAM = "vllm:time_to_first_token_seconds"
RUNNING_METRIC, WAITING_METRIC = "vllm:num_requests_running", "vllm:num_requests_waiting"


def _series() -> Iterator[MetricsCase]:
    """12 of them."""
    largest = 1.7e308
    evil = {"namespace": NAMESPACE, "pod": "evil-0", "model_name": "m", "engine": "0"}

    def usual(labels: Labels) -> Iterator[Scraped]:
        """What makes its numbers complete."""
        yield Scraped("vllm:request_success_total", {**labels, "finished_reason": "stop"}, rate=1.0)
        yield Scraped(f"{HISTOGRAM}_bucket", {**labels, "le": "+Inf"}, rate=1.0)
        yield Scraped(f"{HISTOGRAM}_count", labels, rate=1.0)

    def both(**labels: str) -> tuple[Scraped, ...]:
        mine = evil | labels
        huge = (Scraped(RUNNING_METRIC, mine, largest), Scraped(WAITING_METRIC, mine, largest))
        return (*huge, *usual(mine))

    def histogram(bounds: Sequence[str], **labels: str) -> tuple[Scraped, ...]:
        mine = evil | labels
        rows = [Scraped(f"{HISTOGRAM}_bucket", mine | {"le": bound}, rate=1.0) for bound in bounds]
        flows = (Scraped(RUNNING_METRIC, mine, 1.0), Scraped(WAITING_METRIC, mine, 0.0))
        return (*rows, *flows, *usual(mine))

    # A pod of the tenant's may name any label of its own page; Prometheus keeps those of the target apart.
    forged = {"exported_namespace": "good", "exported_pod": "good-0-0"}
    yield MetricsCase("scraped-sum-overflows", "series", series=both())
    yield MetricsCase("scraped-forged-pod-of-others", "series", series=both(pod="good-0-7"))
    yield MetricsCase("scraped-forged-ordinal", "series", series=both(pod="evil-9" + "9" * 300))
    yield MetricsCase("scraped-exported-labels", "series", series=both(**forged))
    yield MetricsCase("scraped-no-ordinal", "series", series=both(pod="evil"))
    yield MetricsCase("scraped-nan", "series", series=(Scraped(RUNNING_METRIC, evil, math.nan),))
    yield MetricsCase(
        "scraped-many-engines",
        "series",
        series=[each for n in range(2000) for each in both(engine=str(n), model_name=f"m{n}")],
    )
    yield MetricsCase(
        "scraped-many-pods", "series", series=[each for n in range(2000) for each in both(pod=f"evil-{n}")]
    )
    yield MetricsCase(
        "scraped-many-services", "series", series=[each for n in range(2000) for each in both(pod=f"e{n}-0")]
    )
    yield MetricsCase(
        "scraped-20000-bounds", "series", series=histogram([repr(n / 1000) for n in range(20_000)], pod="evil-0")
    )
    yield MetricsCase(
        "scraped-bounds-of-words", "series", series=histogram(["x" * 900, "NaN", "-Inf", "1e999"], pod="evil-0")
    )
    yield MetricsCase(
        "scraped-long-labels",
        "series",
        series=[each for n in range(200) for each in both(model_name="m" * 9000 + str(n))],
    )
