"""The bounds of the engine's histograms: what percentiles they can tell apart."""

import bisect
import math
import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from llmservice_contract.metrics import BUCKETS, FINE
from llmservice_operator.autoscaling.histogram import Histogram, percentiles

SIZE = 20_000
RATIO = 1.28


def histogram(times: Sequence[float], bounds: Sequence[float]) -> Histogram:
    every, ordered = [*bounds, math.inf], sorted(times)
    return Histogram(every, [float(bisect.bisect_right(ordered, bound)) for bound in every])


@pytest.mark.parametrize("family", sorted(BUCKETS))
def test_vllm_takes_them(family: str) -> None:
    """Positive, rising, and few: each is a series of every engine, for some families several."""
    bounds = BUCKETS[family]
    assert bounds[0] > 0
    assert all(low < high for low, high in pairwise(bounds))
    assert len(bounds) <= 32
    assert bounds[-1] > 600, "a latency above the longest target is seen"


@pytest.mark.parametrize("family", sorted(BUCKETS))
def test_fine_bounds_are_near_each_other_and_round(family: str) -> None:
    first, last = FINE[family]
    fine = [bound for bound in BUCKETS[family] if first <= bound <= last]
    assert all(high / low <= RATIO + 1e-9 for low, high in pairwise(fine))
    assert all(float(f"{bound:.3g}") == bound for bound in fine)
    assert {first, last} <= set(fine)


def test_usual_targets_are_bounds() -> None:
    assert {0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0} <= set(BUCKETS["time_to_first_token"])
    assert {0.01, 0.02, 0.025, 0.05, 0.1, 0.2} <= set(BUCKETS["inter_token_latency"])
    assert {0.5, 1.0, 2.0, 5.0, 10.0, 20.0} <= set(BUCKETS["request_latency"])


@pytest.mark.parametrize(
    ("family", "median"),
    [("time_to_first_token", 0.1), ("time_to_first_token", 0.7), ("inter_token_latency", 0.02), ("request_latency", 5)],
)
@pytest.mark.parametrize("spread", [0.2, 0.6])
def test_percentiles_of_lognormal_times_are_right_to_one_bucket(family: str, median: float, spread: float) -> None:
    times = sorted(random.Random(7).lognormvariate(math.log(median), spread) for _ in range(SIZE))
    found = percentiles(histogram(times, BUCKETS[family]))
    for percentile, seconds in found.items():
        truth = times[math.ceil(percentile / 100 * SIZE) - 1]
        assert 1 / RATIO <= seconds / truth <= RATIO, f"p{percentile}: {seconds} for {truth}"


@pytest.mark.parametrize("target", [0.2, 0.5, 2.0])
@pytest.mark.parametrize("slow", [0.005, 0.015])
def test_a_target_on_a_bound_is_decided_exactly(target: float, slow: float) -> None:
    """One request in 200 too slow holds a p99, three in 200 miss it: by a hair each time."""
    times = [target * 0.999] * round(SIZE * (1 - slow)) + [target * 1.001] * round(SIZE * slow)
    found = percentiles(histogram(times, BUCKETS["time_to_first_token"]))
    assert (found[99] > target) == (slow > 0.01)
