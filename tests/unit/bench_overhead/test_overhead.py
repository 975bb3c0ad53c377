"""What the benchmarks of the front compute from their figures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "hack" / "bench"))

from overhead import reach_table, report
from overhead.pairs import interval, order, paired, percentile, ratio, summary

NAMES = ["bare", "bare_again", "ours"]


def test_an_interval_of_equal_values_is_that_value() -> None:
    assert interval([[2.0] * 10]) == (2.0, 2.0)


def test_an_interval_holds_the_median_and_is_the_same_each_time() -> None:
    values = [1.0, 1.1, 0.9, 1.3, 0.7, 1.05, 0.95, 1.2, 0.8, 1.0]
    low, high = interval([values])
    assert 0.7 <= low <= 1.0 <= high <= 1.3
    assert interval([values]) == (low, high)


def test_an_interval_is_no_narrower_for_more_rounds_after_starts_that_differ() -> None:
    few, many = ([[value] * rounds for value in (0.9, 1.0, 1.1)] for rounds in (2, 200))
    assert interval(few) == interval(many) == (0.9, 1.1)


def test_there_is_no_interval_of_nothing() -> None:
    with pytest.raises(ValueError, match="needs values"):
        interval([[]])


def test_each_server_is_first_equally_often_in_either_direction() -> None:
    orders = [order(NAMES, number) for number in range(6)]
    assert all(sorted(each) == sorted(NAMES) for each in orders)
    assert {name: sum(each[0] == name for each in orders) for name in NAMES} == dict.fromkeys(NAMES, 2)
    assert orders[1] == orders[0][::-1]


def test_pairs_are_of_one_round_and_rounds_without_one_are_left_out() -> None:
    rounds = [{"bare": 2.0, "ours": 1.0}, {"bare": 3.0}, {"bare": 4.0, "ours": 6.0}]
    assert paired(rounds, "ours", ["bare"], ratio) == [0.5, 1.5]
    reported = summary([[0.5], [1.5]])
    assert (reported["median"], reported["pairs"], reported["starts"]) == (1.0, 2, 2)


def test_one_is_held_against_the_mean_of_the_others() -> None:
    assert paired([{"bare": 2.0, "bare_again": 4.0, "ours": 6.0}], "ours", ["bare", "bare_again"], ratio) == [2.0]


@pytest.mark.parametrize(("share", "expected"), [(0.99, 99), (0.5, 50), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_one_of_the_values(share: float, expected: int) -> None:
    assert percentile(list(range(1, 101)), share) == expected


def test_a_report_holds_each_figure_against_the_bare_ones_of_its_round() -> None:
    starts = [
        [{name: {"tokens_per_s": speed, "us_per_chunk": us} for name, speed, us in rows}]
        for rows in (
            [("bare", 90.0, 10.0), ("bare_again", 110.0, 12.0), ("ours", 99.0, 12.0), ("nginx", 50.0, 20.0)],
            [("bare", 50.0, 20.0), ("bare_again", 50.0, 20.0), ("ours", 49.5, 21.0)],
        )
    ]
    reported = report.against_bare(starts, "ours")
    assert reported["throughput_ratio"]["median"] == 0.99
    assert reported["per_chunk_us"]["median"] == 1.0
    assert report.against_bare(starts, "bare_again")["throughput_ratio"]["median"] == pytest.approx(1.111)
    assert report.against_bare(starts, "nginx")["throughput_ratio"]["pairs"] == 1


def test_targets_count_as_met_at_their_bound() -> None:
    figures = {"throughput_ratio": 0.98, "p99_ttft_delta_ms": 2.1, "per_chunk_us": 1.0, "rss_delta_mib": 30.0}
    met = {name: name != "p99_ttft_delta_ms" for name in figures}
    assert report.kept(figures) == met


def test_replicas_leave_room_on_each_core() -> None:
    assert reach_table.replicas_for(10_000, 1_000, use=0.7) == 15
    rows = reach_table.table({"short": 1_000.0})
    assert [(row["requests_per_s"], row["cores"], row["replicas"]) for row in rows] == [
        (10_000, 10.0, 15),
        (12_000, 12.0, 18),
    ]


def test_no_rate_reaches_nowhere() -> None:
    with pytest.raises(ValueError, match="above 0"):
        reach_table.replicas_for(10_000, 0)
