"""Percentiles of buckets: Prometheus' rules, case by case. The cluster's tests compare with Prometheus itself."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_operator.autoscaling.histogram import Histogram, HistogramError, percentiles

INF = math.inf


def of(*buckets: tuple[float, float]) -> dict[int, float]:
    return dict(percentiles(Histogram([bound for bound, _ in buckets], [count for _, count in buckets])))


def test_between_two_bounds_times_are_spread_evenly() -> None:
    assert of((1, 40), (2, 80), (4, 100), (INF, 100)) == pytest.approx({50: 1.25, 90: 3.0, 95: 3.5, 99: 3.9})


def test_the_first_bucket_begins_at_zero() -> None:
    assert of((10, 100), (INF, 100))[50] == pytest.approx(5.0)


def test_beyond_the_last_bound_it_is_the_last_bound() -> None:
    assert of((1, 50), (8, 90), (INF, 100)) == pytest.approx({50: 1.0, 90: 8.0, 95: 8.0, 99: 8.0})


def test_no_observations_are_no_percentiles() -> None:
    assert of() == {}
    assert of((1, 0), (INF, 0)) == {}


def test_an_empty_bucket_in_between_is_stepped_over() -> None:
    assert of((1, 50), (2, 50), (4, 100), (INF, 100)) == pytest.approx({50: 1.0, 90: 3.6, 95: 3.8, 99: 3.96})


def test_a_count_that_falls_is_taken_as_the_one_below() -> None:
    """Rates of one scrape are extrapolated bucket by bucket."""
    assert of((1, 60), (2, 50), (4, 100), (INF, 100)) == of((1, 60), (2, 60), (4, 100), (INF, 100))


def test_a_difference_that_is_rounding_is_none() -> None:
    assert of((1, 0.99), (1000, 0.99 + 1e-16), (INF, 0.99 + 1e-16))[99] <= 1


def test_a_bound_that_comes_twice_counts_twice() -> None:
    """``1`` and ``1.0`` of two versions of Prometheus."""
    assert of((1, 20), (1, 20), (2, 50), (INF, 50)) == of((1, 40), (2, 50), (INF, 50))


@pytest.mark.parametrize(
    "buckets",
    [
        [(1, math.nan), (INF, 1)],
        [(1, 1), (INF, math.nan)],
        [(1, 1), (INF, INF)],
        [(math.nan, 1), (INF, 1)],
        [(1, 1), (2, 1)],
        [(INF, 1)],
        [(1, 1.7e308), (1, 1.7e308), (INF, 1.7e308)],
        [(1.7e308, 1), (INF, 1)],
        [(-5, 1), (INF, 1)],
        [(1, -1), (INF, 1)],
        [*((bound / 1000, 1.0) for bound in range(5000)), (INF, 1)],
    ],
)
def test_what_is_no_histogram_is_an_error(buckets: list[tuple[float, float]]) -> None:
    with pytest.raises(HistogramError):
        of(*buckets)


BUCKETS = st.lists(
    st.tuples(st.floats(0.001, 1000), st.floats(0, 1e6)), min_size=1, max_size=40, unique_by=lambda bucket: bucket[0]
)


@given(BUCKETS, st.floats(0, 1e6), st.integers())
def test_whatever_the_counts_percentiles_rise_and_lie_within_the_bounds(
    buckets: list[tuple[float, float]], top: float, seed: int
) -> None:
    every = [*buckets, (INF, top)]
    found = of(*every)
    assert list(found.values()) == sorted(found.values())
    assert all(0 <= seconds <= max(bound for bound, _ in buckets) for seconds in found.values())
    random.Random(seed).shuffle(every)
    assert of(*every) == found, "the order of the rows is Prometheus' own"
