"""hack/bench/gateway.py: the modelled engine batches and caches as vLLM does, and the trace shares what it should."""

from __future__ import annotations

import operator
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway_parts import attacker, quantiles, salt, table
from gateway_parts.model import Engine, Job, Settings
from gateway_parts.workload import Row, read_trace, requests, share_in_an_unlimited_cache, text, without_prefixes

SETTINGS = Settings(
    step_seconds=0.01, prefill_tokens_per_second=1000, generating_seconds=0.001, step_tokens=1024, cache_blocks=10
)


def job(*blocks: int, output: int = 1, more: int = 1) -> Job:
    """A prompt of these whole blocks and some tokens more."""
    return Job(blocks, len(blocks) * 512 + more, output)


def run(engine: Engine, jobs: Sequence[Job]) -> float:
    """Seconds until all are answered."""
    for each in jobs:
        engine.add(each)
    seconds = 0.0
    while (step := engine.step()) is not None:
        seconds += step
        engine.finish()
    assert all(each.generated == each.output_tokens for each in jobs)
    return seconds


def test_a_prompt_takes_as_long_as_its_tokens_in_steps_of_limited_size() -> None:
    assert run(Engine(SETTINGS), [job(1, 2, 3, 4, more=2)]) == pytest.approx(2050 / 1000 + 3 * 0.01)


def test_a_batch_is_faster_than_one_request_after_the_other_and_slower_than_one() -> None:
    def seconds(count: int) -> float:
        return run(Engine(SETTINGS), [job(output=100) for _ in range(count)])

    assert seconds(1) < seconds(8) < 2 * seconds(1)


def test_a_prefix_that_was_computed_is_not_computed_again() -> None:
    engine = Engine(SETTINGS)
    run(engine, [job(1, 2, 3)])
    again = job(1, 2, 9)
    assert run(engine, [again]) == pytest.approx((512 + 1) / 1000 + 0.01)
    assert again.cached == engine.cached_tokens == 1024


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    engine = Engine(SETTINGS)
    run(engine, [job(1, 2, more=0)])
    again = job(1, 2, more=0)
    run(engine, [again])
    assert again.cached == 512


def test_the_least_recently_used_prefix_is_evicted_its_end_first() -> None:
    engine = Engine(SETTINGS)  # 10 blocks
    run(engine, [job(1, 2, 3)])
    run(engine, [job(11, 12, 13)])
    run(engine, [job(1, 2, 3)])  # used again
    run(engine, [job(21, 22, 23, 24)])  # 4 blocks and one for the answer: block 13 goes
    for blocks, cached in (((1, 2, 3), 3), ((11, 12, 13), 2)):
        found = job(*blocks)
        run(engine, [found])
        assert found.cached == cached * 512


def test_requests_wait_while_blocks_are_in_use() -> None:
    engine = Engine(SETTINGS)
    first, second = job(1, 2, 3, 4, 5, output=5), job(11, 12, 13, 14, 15, output=5)
    engine.add(first)
    engine.add(second)
    assert engine.step()
    assert list(engine.running) == [first]
    engine.drop(first)
    engine.finish()
    assert engine.step()
    assert list(engine.running) == [second]


def test_the_trace_shares_as_much_as_the_whole_one() -> None:
    rows = read_trace()
    assert len(rows) == 1554
    # 0.366 of all 12,031 requests' blocks.
    assert share_in_an_unlimited_cache(rows) == pytest.approx(0.37, abs=0.02)
    assert share_in_an_unlimited_cache(without_prefixes(rows)) == 0


def test_prompts_have_the_text_of_their_blocks(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("# comment\n1100,5,0-2\n1200,6,0 7-8\n")
    one, other = rows = read_trace(trace)
    assert rows == [Row(1100, 5, (0, 1, 2)), Row(1200, 6, (0, 7, 8))]
    assert len(text(one)) == 4400
    assert text(one)[:2048] == text(other)[:2048]
    assert text(one)[2048:2100] != text(other)[2048:2100]
    sent = requests(rows, per_second=2, clients=3, seed=1)
    assert [each.output_tokens for each in sent] == [5, 6]
    assert 0 < sent[0].at < sent[1].at


def noisy(seed: int, blocks: int, added: float) -> list[list[float]]:
    """Times of 10 ms that vary by 1 ms, some of them much longer in every block."""
    chance = random.Random(seed)
    return [
        [0.01 + added + chance.random() / 1000 + (0.02 if each % 50 == 0 else 0) for each in range(100)]
        for _ in range(blocks)
    ]


def test_the_interval_of_a_difference_has_the_true_one_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "RESAMPLES", 200)
    mine, theirs = noisy(1, 40, 0.002), noisy(2, 40, 0)
    found, low, high = quantiles.compared(mine, theirs, 0.5, operator.sub)
    assert low < 0.002 < high
    assert 0.0018 < low <= found <= high < 0.0022
    _, low, high = quantiles.compared(noisy(1, 40, 0), theirs, 0.99, operator.truediv)
    assert low < 1 < high


@pytest.mark.parametrize(("mine", "theirs"), [([], []), ([[1.0]], []), ([[1.0]], [[1.0], [1.0]])])
def test_blocks_that_were_not_measured_together_are_refused(mine: list[list[float]], theirs: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="same number"):
        quantiles.compared(mine, theirs, 0.5, operator.sub)


def test_auc_of_times_that_tell_everything_and_nothing() -> None:
    assert salt.auc([1, 2], [3, 4]) == 1
    assert salt.auc([3, 4], [1, 2]) == 0
    assert salt.auc([1, 2], [1, 2]) == 0.5
    low, high = salt.interval([1, 3, 5, 7], [2, 4, 6, 8])
    assert low < salt.auc([1, 3, 5, 7], [2, 4, 6, 8]) < high


def test_fifty_kinds_of_hostile_requests_of_which_five_are_slow() -> None:
    assert len(attacker.cases()) + len(attacker.SLOW) == attacker.CASES == 50
    groups = {name.partition(":")[0] for name in attacker.cases()}
    assert groups >= {"oversized", "frame", "chunk", "header", "target", "host", "version", "sequence", "JSON"}


def of(**figures: float) -> dict[str, float]:
    return {"p50_ttft_ms": 1.0, "p99_ttft_ms": 1.0, "output_tokens_per_s": 1.0, "failed": 0} | figures


SECTIONS = {
    "shared_prefixes": {
        "routers": {
            "gateway": of(failed=1),
            "service_kept": of(p99_ttft_ms=5.0),
            "service_new": of(p99_ttft_ms=2.0),
        }
    },
    "without_prefixes": {"routers": {"gateway": of(), "least_conn": of(p99_ttft_ms=2.0)}},
    "direct": {"gateway": {"p99_ttft_added_ms": 0.5, "throughput_ratio": 0.94}},
    "held": {
        "streams": 200,
        "waiting": 200,
        "answered_once": 199,
        "sent_to_a_replica_once": 200,
        "first_comment_max_ms": 40.0,
        "nginx_mib_more_while_held": 7.0,
    },
    "attacked": {"not_refused": 0, "p99_ratio": 1.05},
    "vllm": {"routers": {"gateway": of(), "service_kept": of(p99_ttft_ms=1.2)}},
    "salt": {"shared": {"auc": 1.0}, "per_key": {"auc": 0.3}},
}


def test_each_target_has_its_figure_and_those_that_are_missed_are_named() -> None:
    figures = table.headline(SECTIONS)
    assert figures.keys() == table.TARGETS.keys() == table.WORDS.keys()
    assert {name for name, met in table.kept(figures).items() if not met} == {
        "ttft_p99_of_service_with_new_connections_by_gateway",
        "failed",
        "throughput_ratio",
        "held_streams_not_answered_once",
        "auc_from_half_with_one_for_each_key",
    }
    assert figures["ttft_p99_of_service_by_gateway"] == 5
    assert figures["ttft_p99_by_least_conn_without_prefixes"] == 0.5
    assert figures["held_streams_not_answered_once"] == 1


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_alone_has_its_figures(name: str) -> None:
    assert set(table.headline({name: SECTIONS[name]})) < set(table.TARGETS)
