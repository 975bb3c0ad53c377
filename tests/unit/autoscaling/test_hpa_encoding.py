"""The number that is published brings the HPA to the count that is meant, from every count."""

import datetime
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_operator.autoscaling.hpa_encoding import MARGIN, REPLICA, STEADY, Published, published
from support.hpa_model import HPA, Policy, Rules, proposal

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
COUNTS = range(65)
LOADS = (0.0, 0.31, 0.87, 1.0, 1.05, 2.0)
UNSTABILIZED = Rules(0)

counts = st.integers(0, 1000)
loads = st.floats(0, 2)


def after(seconds: float) -> datetime.datetime:
    return NOW + datetime.timedelta(seconds=seconds)


def arrives(milli: int, current: int, tolerance: float, minimum: int = 0, maximum: int = 1000) -> int:
    """Where an HPA goes that has no stabilization."""
    hpa = HPA(minimum, maximum, tolerance=tolerance, down=UNSTABILIZED)
    hpa.scaled_to_zero = current == 0
    return hpa.sync(NOW, current, current, [milli]).replicas


@pytest.mark.parametrize("load", LOADS)
def test_without_tolerance_every_pair_of_counts_is_exact(load: float) -> None:
    for current in COUNTS:
        for wanted in COUNTS:
            said = published(wanted, load, current=current, tolerance=0, minimum=0, maximum=64)
            assert said.count == wanted
            assert arrives(said.milli, current, 0) == wanted, (current, wanted, said)


@pytest.mark.parametrize("load", LOADS)
def test_with_the_usual_tolerance_it_is_the_nearest_count_and_never_less(load: float) -> None:
    for current in COUNTS:
        everywhere = range(-500, 75 * REPLICA, REPLICA // 10)
        reachable = {proposal(max(0, milli), REPLICA, current, 0.1, 0.1) for milli in everywhere}
        for wanted in COUNTS:
            said = published(wanted, load, current=current, tolerance=0.1, minimum=0, maximum=1000)
            there = arrives(said.milli, current, 0.1)
            assert there == said.count, (current, wanted, said)
            assert there >= wanted, (current, wanted, said)
            assert there == min(count for count in reachable if count >= wanted), (current, wanted, said)


def test_what_the_usual_tolerance_puts_out_of_reach() -> None:
    def reached(current: int, wanted: int, **bounds: int) -> int:
        said = published(wanted, 1.0, current=current, tolerance=0.1, **{"minimum": 0, "maximum": 64} | bounds)
        return arrives(said.milli, current, 0.1, **{"minimum": 0, "maximum": 64} | bounds)

    assert reached(9, 10) == 10
    assert reached(10, 11) == 12
    assert reached(20, 21) == 23
    assert reached(20, 21, maximum=21) == 21, "the HPA's own maximum stops it"
    assert reached(10, 9) == 9
    assert reached(20, 18) == 18
    assert reached(20, 19) == 20, "a count too near is not reached from above, and less is never asked for"
    assert reached(20, 19, minimum=19) == 19, "the HPA's own minimum stops it"
    assert reached(1, 0) == 0


@given(counts, counts, loads, st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.2, 0.5]), counts, counts)
def test_bounds_and_any_tolerance(
    current: int, wanted: int, load: float, tolerance: float, one: int, another: int
) -> None:
    minimum, maximum = min(one, another), max(one, another, 1)
    current = min(max(current, minimum), maximum)
    said = published(wanted, load, current=current, tolerance=tolerance, minimum=minimum, maximum=maximum)
    assert said.milli >= 0
    assert arrives(said.milli, current, tolerance, minimum, maximum) == said.count
    assert said.count >= min(max(wanted, minimum), maximum)


@given(counts, counts, loads)
def test_the_number_says_the_load_where_the_count_allows_it(current: int, wanted: int, load: float) -> None:
    said = published(wanted, load, current=current, tolerance=0, minimum=0, maximum=1000)
    low, high = ((wanted - 1) * REPLICA + MARGIN, wanted * REPLICA) if wanted else (0, 0)
    nearest = min(max(round(REPLICA * load * current), low), high)
    percent = MARGIN * max(1, current)
    assert low <= said.milli <= high
    assert abs(said.milli - nearest) < percent
    assert said.milli % percent == 0 or not -(-low // percent) * percent <= high


def test_what_people_read() -> None:
    said = published(3, 0.87, current=3, tolerance=0, minimum=1, maximum=8)
    assert said.milli / 3 == 87_000, "kubectl describe hpa divides by the replicas: 87 / 100 (avg)"


def test_a_load_that_moves_little_is_the_same_number_so_that_the_hpa_writes_nothing() -> None:
    said: Published | None = None
    numbers = []
    for load in (0.55, 0.6, 0.5, 0.74, 0.76, 0.6, 0.57, 0.55):
        said = published(2, load, current=2, tolerance=0, minimum=1, maximum=8, before=said)
        numbers.append(said.milli / 2000)
    assert numbers == [55, 55, 55, 55, 76, 76, 76, 55]


few = st.integers(0, 3)


@given(st.lists(st.tuples(few, loads, few, few, few), min_size=2, max_size=20), st.sampled_from([0.0, 0.1]))
def test_a_number_that_is_kept_means_the_count_too(
    looks: list[tuple[int, float, int, int, int]], tolerance: float
) -> None:
    said: Published | None = None
    for wanted, load, present, one, another in looks:
        least, most = min(one, another), max(one, another, 1)
        current = min(max(present, least), most)

        reported = functools.partial(
            published, wanted, load, current=current, tolerance=tolerance, minimum=least, maximum=most
        )
        exact, said = reported(), reported(before=said)
        assert said.count == exact.count
        assert abs(said.milli - exact.milli) < STEADY * max(1, current)
        assert arrives(said.milli, current, tolerance, least, most) == said.count


@given(counts.filter(bool), counts.filter(bool), loads)
def test_digits_that_an_adapter_loses_move_no_count(current: int, wanted: int, load: float) -> None:
    milli = published(wanted, load, current=current, tolerance=0, minimum=0, maximum=1000).milli
    through_prometheus = int(float(repr(milli / 1000)) * 1000)
    assert proposal(through_prometheus, REPLICA, current) == wanted


def test_an_error_holds_the_count() -> None:
    hpa = HPA(1, 8)
    assert hpa.sync(NOW, 5, 5, None).replicas == 5
    assert not hpa.sync(NOW, 5, 5, None).active


def test_fewer_replicas_wait_for_the_window_and_more_do_not() -> None:
    hpa = HPA(1, 8)
    assert hpa.sync(after(0), 4, 4, [4 * REPLICA]).replicas == 4
    assert hpa.sync(after(15), 4, 4, [REPLICA]).replicas == 4
    assert hpa.sync(after(299), 4, 4, [REPLICA]).replicas == 4
    assert hpa.sync(after(301), 4, 4, [2 * REPLICA]).replicas == 2
    assert hpa.sync(after(302), 2, 2, [6 * REPLICA]).replicas == 6


def test_zero_is_left_only_by_whom_the_hpa_sent_there() -> None:
    hpa = HPA(0, 8, down=UNSTABILIZED)
    assert not hpa.sync(after(0), 0, 0, [REPLICA]).active, "scaled to zero by hand: switched off"
    assert hpa.sync(after(15), 2, 2, [0]).replicas == 0
    assert hpa.sync(after(30), 0, 0, [0]).replicas == 0
    assert hpa.sync(after(45), 0, 0, [3 * REPLICA]).replicas == 3
    assert not hpa.sync(after(60), 0, 0, [3 * REPLICA]).active


def test_policies_of_both_directions_limit_the_step() -> None:
    hpa = HPA(1, 100, up=Rules(0, (Policy("Percent", 100, 60), Policy("Pods", 4, 60))), down=Rules(0))
    assert hpa.sync(after(0), 1, 1, [50 * REPLICA]).replicas == 5
    assert hpa.sync(after(15), 5, 5, [50 * REPLICA]).replicas == 5
    assert hpa.sync(after(61), 5, 5, [50 * REPLICA]).replicas == 10
    hpa = HPA(1, 100, down=Rules(0, (Policy("Pods", 2, 60), Policy("Percent", 50, 60)), "Min"))
    assert hpa.sync(after(0), 10, 10, [REPLICA]).replicas == 8
    assert hpa.sync(after(30), 8, 8, [REPLICA]).limited == "ScaleDownLimit"
    assert hpa.sync(after(61), 8, 8, [REPLICA]).replicas == 6
    hpa = HPA(1, 100, down=Rules(0, select="Disabled"))
    assert hpa.sync(after(0), 10, 10, [REPLICA]).replicas == 10


def test_bounds_come_before_the_metric() -> None:
    hpa = HPA(2, 4)
    assert hpa.sync(after(0), 1, 1, None).replicas == 2
    assert hpa.sync(after(1), 9, 9, None).replicas == 4
    assert hpa.sync(after(2), 4, 4, [9 * REPLICA]).limited == "TooManyReplicas"
