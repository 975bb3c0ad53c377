"""Percentiles of a histogram, computed like Prometheus' histogram_quantile, so that dashboards show the same values.

Observations between two bounds are assumed to be spread evenly: a percentile is only as exact as its bucket. If engines
of one service have different bounds (during an update that changes them), percentiles are too high. If Prometheus has
only some of the engines' buckets, a percentile between two distant ones would be a guess: a caller that passes the
engines' bounds does not get it.
"""

import bisect
import dataclasses
import math
from collections.abc import Mapping, Sequence

from llmservice_operator.autoscaling.latency import PERCENTILES

_ROUNDING = 1e-12
"""Relative difference of two counts that is only a rounding error."""
MOST_BUCKETS = 1000
"""Far more buckets than engines have, even in an update that changes them."""
MOST_SECONDS = 1e6
"""Maximum finite bound: longer than any request. A percentile is never above it."""
MOST_COUNT = 1e12
"""Maximum count or rate of one bucket."""


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """Buckets in any order: upper bounds, and cumulative counts or rates."""

    bounds: list[float] = dataclasses.field(default_factory=list)
    counts: list[float] = dataclasses.field(default_factory=list)


class HistogramError(Exception):
    """The buckets are invalid; the text says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Percentiles:
    """The percentiles of one histogram."""

    values: Mapping[int, float] = dataclasses.field(default_factory=dict)
    """Seconds by percentile; empty without observations."""
    missing: tuple[float, ...] = ()
    """Bounds of the engines that have no bucket, in the interval of a percentile that is therefore not in
    ``values``."""


def percentiles(histogram: Histogram) -> Mapping[int, float]:
    """Each of PERCENTILES; empty if there are no observations. See ``exact_percentiles``."""
    return exact_percentiles(histogram, ()).values


def exact_percentiles(histogram: Histogram, engine_bounds: Sequence[float]) -> Percentiles:
    """Each of PERCENTILES that is as exact as with buckets for all ``engine_bounds``, which must be ascending.

    A percentile above the last finite bound is that bound. All are from 0 to MOST_SECONDS. Raises HistogramError if a
    number is NaN, infinite or out of bounds, or if +Inf or all other bounds are missing.
    """
    bounds, counts = _cumulative(histogram)
    if not counts or counts[-1] <= 0:
        return Percentiles()
    found: dict[int, float] = {}
    missing: set[float] = set()
    for percentile in PERCENTILES:
        index = _bucket(percentile / 100, counts)
        low = bounds[index - 1] if index else 0.0
        within = engine_bounds[
            bisect.bisect_right(engine_bounds, low) : bisect.bisect_left(engine_bounds, bounds[index])
        ]
        if within:
            missing.update(within)
        else:
            found[percentile] = _at(percentile / 100, bounds, counts)
    return Percentiles(found, tuple(sorted(missing)))


def _cumulative(histogram: Histogram) -> tuple[list[float], list[float]]:
    """Ascending bounds without duplicates, and counts that never decrease."""
    if len(histogram.bounds) > MOST_BUCKETS:
        raise HistogramError(f"{len(histogram.bounds)} buckets, more than {MOST_BUCKETS}")
    bounds: list[float] = []
    counts: list[float] = []
    for bound, count in sorted(zip(histogram.bounds, histogram.counts, strict=True)):
        if bound != bound or not math.isfinite(count):
            raise HistogramError("a bucket is not a number")
        if not 0 <= count <= MOST_COUNT or not (0 <= bound <= MOST_SECONDS or bound == math.inf):
            raise HistogramError("a bucket is out of range")
        if bounds and bounds[-1] == bound:
            counts[-1] += count
        else:
            bounds.append(bound)
            counts.append(count)
    if bounds and (bounds[-1] != math.inf or len(bounds) == 1):
        raise HistogramError("a histogram has no finite bounds or no bound +Inf")
    highest = -math.inf
    for index, count in enumerate(counts):
        if count < highest or count - highest <= _ROUNDING * (count + highest):
            counts[index] = highest
        else:
            highest = count
    return bounds, counts


def _bucket(quantile: float, counts: list[float]) -> int:
    return bisect.bisect_left(counts, quantile * counts[-1], hi=len(counts) - 1)


def _at(quantile: float, bounds: list[float], counts: list[float]) -> float:
    rank = quantile * counts[-1]
    index = _bucket(quantile, counts)
    if index == len(counts) - 1:
        return bounds[-2]
    if index == 0:
        start, below = 0.0, 0.0
        if bounds[0] == 0:
            return 0.0
    else:
        start, below = bounds[index - 1], counts[index - 1]
    return start + (bounds[index] - start) * (rank - below) / (counts[index] - below)
