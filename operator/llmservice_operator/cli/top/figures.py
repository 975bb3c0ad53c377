"""Computes the metrics of a service from two samples of its engines' metrics pages. Pure.

Invariants: an engine counts for rates and percentiles only if both samples are from the same process; one that has
just started counts for the gauges only.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from llmservice_operator.autoscaling.histogram import Histogram, HistogramError, percentiles

FINISHED = "vllm:request_success_total"
GENERATED = "vllm:generation_tokens_total"
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_CACHE = "vllm:kv_cache_usage_perc"
FIRST_TOKEN = "vllm:time_to_first_token_seconds"
BETWEEN_TOKENS = "vllm:inter_token_latency_seconds"

_COUNTERS, _GAUGES = (FINISHED, GENERATED), (RUNNING, WAITING, KV_CACHE)
_HISTOGRAMS = (FIRST_TOKEN, BETWEEN_TOKENS)


@dataclasses.dataclass(frozen=True)
class Page:
    """One sample of an engine's metrics."""

    at: float
    """Seconds of a monotonic clock."""
    totals: Mapping[str, float]
    """Counters: the sum of their series."""
    gauges: Mapping[str, Sequence[float]]
    """Gauges: each of their series."""
    buckets: Mapping[str, Mapping[float, float]]
    """Histograms: counts by upper bound, summed over all series."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Metrics of one service over the interval, for all its engines together. An unknown value is None or empty."""

    requests_per_second: float | None = None
    """Requests that ended."""
    tokens_per_second: float | None = None
    """Tokens that were generated."""
    first_token: Mapping[int, float] = dataclasses.field(default_factory=dict)
    """Seconds by percentile; empty if no request reached its first token."""
    between_tokens: Mapping[int, float] = dataclasses.field(default_factory=dict)
    """The same."""
    kv_cache: float | None = None
    """Share of the KV cache in use, from 0 to 1: the mean of the engines."""
    running: float | None = None
    """Requests in the engines' batches now."""
    waiting: float | None = None
    """Requests in the engines' queues now."""


def read(text: str, at: float) -> Page:
    """Parse the metrics page ``text``. Raises ValueError if it is not in Prometheus' text format."""
    from prometheus_client.parser import text_string_to_metric_families

    wanted = tuple(f"{name}{after}" for name in (*_COUNTERS, *_GAUGES) for after in "{ ")
    wanted += tuple(f"{name}_bucket{{" for name in _HISTOGRAMS)
    lines = "\n".join(line for line in text.splitlines() if line.startswith(wanted))
    totals, gauges = defaultdict[str, float](float), defaultdict[str, list[float]](list)
    buckets: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(f"{lines}\n"):
        for name, labels, value, *_ in family.samples:
            if name in _COUNTERS:
                totals[name] += value
            elif name in _GAUGES:
                gauges[name].append(value)
            else:
                buckets[name.removesuffix("_bucket")][float(labels["le"])] += value
    return Page(at, dict(totals), dict(gauges), {name: dict(found) for name, found in buckets.items()})


def figures(looks: Iterable[tuple[Page | None, Page]]) -> Figures:
    """The metrics of a service, from the previous sample of each engine (None if there is none) and the current one."""
    pairs = list(looks)
    spans = [(before, now) for before, now in pairs if before is not None and _goes_on(before, now)]
    shares = [value for _, now in pairs for value in now.gauges.get(KV_CACHE, ())]
    return Figures(
        requests_per_second=_rate(spans, FINISHED),
        tokens_per_second=_rate(spans, GENERATED),
        first_token=_percentiles(spans, FIRST_TOKEN),
        between_tokens=_percentiles(spans, BETWEEN_TOKENS),
        kv_cache=sum(shares) / len(shares) if shares else None,
        running=_sum(pairs, RUNNING),
        waiting=_sum(pairs, WAITING),
    )


def _goes_on(before: Page, now: Page) -> bool:
    """Whether both samples are from the same process: none of its counters decreased."""
    forward = all(now.totals.get(name, 0.0) >= value for name, value in before.totals.items())
    return now.at > before.at and forward


def _rate(spans: Sequence[tuple[Page, Page]], name: str) -> float | None:
    known = [(before, now) for before, now in spans if name in now.totals]
    if not known:
        return None
    return sum((now.totals[name] - before.totals.get(name, 0.0)) / (now.at - before.at) for before, now in known)


def _percentiles(spans: Sequence[tuple[Page, Page]], name: str) -> Mapping[int, float]:
    histogram = Histogram()
    for before, now in spans:
        earlier = before.buckets.get(name, {})
        for bound, count in now.buckets.get(name, {}).items():
            histogram.bounds.append(bound)
            histogram.counts.append(count - earlier.get(bound, 0.0))
    try:
        return percentiles(histogram)
    except HistogramError:
        return {}


def _sum(pairs: Sequence[tuple[Page | None, Page]], name: str) -> float | None:
    found = [value for _, now in pairs for value in now.gauges.get(name, ()) if math.isfinite(value)]
    return sum(found) if found else None
