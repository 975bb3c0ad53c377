"""Tokens per second and batch sizes from what vLLM tells of each step."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest

from llmservice_contract.metrics import BATCH_SIZE, THROUGHPUT, THROUGHPUT_SECONDS
from llmservice_runtime.vllm_plugins.engine_stats import BATCH_BUCKETS, EngineStats, Step


@dataclass
class Iteration:
    """A step as vLLM's IterationStats tells of it."""

    num_generation_tokens: int
    time_to_first_tokens_iter: list[float] = field(default_factory=list)
    inter_token_latencies_iter: list[float] = field(default_factory=list)


class Clock:
    def __init__(self, start: float = 1000.0) -> None:
        self.time = start

    def __call__(self) -> float:
        return self.time


def a_step(decoding: int, beginning: int = 0, tokens: int | None = None) -> Iteration:
    return Iteration(decoding + beginning if tokens is None else tokens, [0.1] * beginning, [0.01] * decoding)


@settings(max_examples=30, deadline=None)
@given(
    start=st.floats(0, 1e6),
    rate=st.integers(1, 20),
    sequences=st.integers(1, 300),
    seconds=st.integers(THROUGHPUT_SECONDS, 3 * THROUGHPUT_SECONDS),
)
def test_a_steady_load_is_told_as_it_is(start: float, rate: int, sequences: int, seconds: int) -> None:
    """`rate` steps a second; the window may hold one step more or less than its share."""
    clock, registry = Clock(), CollectorRegistry()
    stats = EngineStats(registry, clock)
    for number in range(rate * seconds):
        clock.time = start + number / rate
        stats.record(a_step(sequences))
    found = registry.get_sample_value(THROUGHPUT)
    assert found == pytest.approx(rate * sequences, abs=2 * sequences / (THROUGHPUT_SECONDS - 1))


def test_what_is_older_than_the_window_counts_no_more() -> None:
    clock, registry = Clock(1000.5), CollectorRegistry()
    stats = EngineStats(registry, clock)
    stats.record(a_step(29))
    clock.time += THROUGHPUT_SECONDS - 1
    assert registry.get_sample_value(THROUGHPUT) == 2.0, "29 tokens in 14.5 s"
    clock.time += 1
    assert registry.get_sample_value(THROUGHPUT) == 0
    clock.time += THROUGHPUT_SECONDS - 1
    assert registry.get_sample_value(THROUGHPUT) == 0, "a slot is not reported again when it is reused"


def test_a_batch_is_every_sequence_that_the_step_advanced() -> None:
    registry = CollectorRegistry()
    stats = EngineStats(registry, Clock())
    stats.record(a_step(decoding=5, beginning=3))
    stats.record(a_step(decoding=2, tokens=8))
    assert registry.get_sample_value(f"{BATCH_SIZE}_sum") == 10, "several tokens of one sequence are one sequence"
    assert registry.get_sample_value(f"{BATCH_SIZE}_count") == 2
    assert registry.get_sample_value(f"{BATCH_SIZE}_bucket", {"le": "2.0"}) == 1


def test_batches_of_vllms_usual_largest_size_are_told_apart() -> None:
    assert {1, 64, 256, 1024} <= set(BATCH_BUCKETS)


def test_a_step_told_in_another_way_takes_the_metrics_off_the_page_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = CollectorRegistry()
    Counter("vllm_other", "Something else.", registry=registry).inc()
    stats = EngineStats(registry, Clock())
    stats.record(a_step(5))
    strange: Step = object()  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        stats.record(strange)
        stats.record(strange)
    page = generate_latest(registry).decode()
    assert THROUGHPUT not in page
    assert BATCH_SIZE not in page
    assert "vllm_other_total 1.0" in page
    assert [THROUGHPUT in record.getMessage() for record in caplog.records] == [True], "it is said once"
