"""What one look amounts to: finite and bounded numbers, or an error, whatever was measured."""

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_operator.autoscaling import hpa_encoding, latency_algorithm
from llmservice_operator.autoscaling.algorithm import ReplicaBounds, ReplicaCounts, ScalingInputs
from llmservice_operator.autoscaling.demand import CLAMP, demand
from llmservice_operator.autoscaling.latency import Latency, Target
from llmservice_operator.autoscaling.signals import MOST, Signals

TARGETS = (Target(Latency.TIME_TO_FIRST_TOKEN, 99, 0.2),)
NUMBERS = st.floats() | st.sampled_from([1.7e308, -1.7e308, math.inf, -math.inf, math.nan])
SIGNALS = st.builds(
    Signals,
    st.dictionaries(st.just(Latency.TIME_TO_FIRST_TOKEN), st.dictionaries(st.just(99), NUMBERS)),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.integers(0, 10**9),
)


def test_the_sum_of_huge_numbers_is_bounded() -> None:
    found = demand(Signals({}, 1.7e308, 1.7e308, 1.7e308, 1), TARGETS, 1)
    assert found.in_flight <= 2 * MOST
    assert found.finished_per_second <= MOST


def test_a_burst_between_two_scrapes_is_in_flight() -> None:
    slow = {Latency.TIME_TO_FIRST_TOKEN: {99: 0.588}}
    # 48 requests every 4 s; each takes 0.45 s.
    steady = Signals(slow, 12.0, 0, 0, 1, mean_in_flight=5.4)
    assert demand(steady, TARGETS, 1).in_flight == 5.4
    assert demand(msgspec.structs.replace(steady, running=8, waiting=40), TARGETS, 1).in_flight == 48


def test_requests_that_queued_were_not_alone() -> None:
    slow = {Latency.TIME_TO_FIRST_TOKEN: {99: 0.588}}
    # 48 requests once a minute, most of whose time is in the queue, and then ones that come one by one.
    rare = Signals(slow, 0.8, 0, 0, 1, mean_in_flight=0.36, mean_waiting=0.25)
    assert demand(rare, TARGETS, 1).in_flight == 2
    assert demand(msgspec.structs.replace(rare, mean_waiting=0.01), TARGETS, 1).in_flight == 0.36


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_an_error(value: float) -> None:
    for signals in (Signals({}, value, 0, 0, 1), Signals({}, 0, value, 0, 1), Signals({}, 0, 0, value, 1)):
        with pytest.raises(ValueError, match="finite"):
            demand(signals, TARGETS, 1)


@given(st.lists(SIGNALS, max_size=6))
def test_whatever_is_measured_a_step_gives_a_count_or_an_error(measured: list[Signals]) -> None:
    now, memory = datetime(2026, 1, 1, tzinfo=UTC), latency_algorithm.initial_state(2, datetime(2026, 1, 1, tzinfo=UTC))
    for signals in measured:
        now += timedelta(seconds=15)
        try:
            memory, decision = latency_algorithm.step(
                memory, ScalingInputs(signals, TARGETS, ReplicaBounds(1, 8), ReplicaCounts(2, 2, 2), now)
            )
        except ValueError as error:
            assert "finite" in str(error)
            continue
        assert 1 <= decision.count <= 8
        assert math.isfinite(memory.in_flight) and math.isfinite(memory.rate)
        assert decision.load is None or 0 <= decision.load <= CLAMP
        load = 1.0 if decision.load is None else decision.load
        assert hpa_encoding.published(decision.count, load, current=2, tolerance=0.1, minimum=1, maximum=8).milli >= 0
