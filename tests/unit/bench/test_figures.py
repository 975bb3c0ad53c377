"""Percentiles, rates and times of known answers."""

from __future__ import annotations

import numpy
import pytest

from serving.answer import CUT, Answer
from serving.figures import distribution, figures, percentile, times


def an_answer(began: float, *chunks: float, tokens: int = 0, error: str = "") -> Answer:
    return Answer(began, list(chunks), 10, tokens or len(chunks), error)


@pytest.mark.parametrize("percent", [50, 90, 95, 99, 99.9])
@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_percentiles_are_those_of_numpy(percent: float, count: int) -> None:
    values = sorted(float(number * 7919 % 1009) for number in range(count))
    assert percentile(values, percent) == pytest.approx(numpy.percentile(values, percent))


def test_a_distribution_is_in_milliseconds() -> None:
    reported = distribution([number / 1000 for number in range(101)])
    assert reported == {"mean": 50.0, "p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}
    assert distribution([]) is None


def test_times_of_a_stream_are_defined_as_by_vllm_bench_serve() -> None:
    whole = an_answer(1.0, 1.5, 1.6, 2.1, tokens=6)
    assert whole.first_token == pytest.approx(0.5)
    assert whole.gaps == pytest.approx([0.1, 0.5]), "a gap is between chunks, however many tokens they carry"
    assert whole.latency == pytest.approx(1.1)
    assert whole.per_token == pytest.approx(0.6 / 5), "by tokens as the server counts them, without the first"
    assert an_answer(0.0, 1.0).per_token is None


def test_failed_and_cut_answers_give_no_times() -> None:
    broken = an_answer(0.0, 1.0, 9.0, error="broken_stream")
    cut = an_answer(0.0, 1.0, 9.0, error=CUT)
    assert times([broken, cut, an_answer(0.0, 1.0, 2.0)])["request_ms"] == [2.0]


def test_only_what_came_in_the_time_counts() -> None:
    answers = [
        an_answer(0.0, 1.0, 2.0),  # before
        an_answer(8.0, 9.0, 11.0, tokens=4),  # half of its tokens inside
        an_answer(12.0, 13.0, 14.0),
        an_answer(15.0, 16.0, 19.0, error=CUT),
        an_answer(15.0, error="timeout"),
        an_answer(3.0, error="timeout"),  # before
    ]
    reported = figures(answers, 10.0, 20.0)
    assert (reported["succeeded"], reported["failed"], reported["cut"]) == (2, 1, 1)
    assert reported["errors"] == {"timeout": 1}
    assert reported["requests_per_second"] == 0.2
    assert reported["output_tokens_per_second"] == pytest.approx((2 + 2 + 2) / 10)
    assert reported["mean_output_tokens"] == 3


def test_nothing_has_figures() -> None:
    reported = figures([], 1.0, 1.0)
    assert (reported["requests_per_second"], reported["ttft_ms"], reported["mean_prompt_tokens"]) == (0.0, None, None)
