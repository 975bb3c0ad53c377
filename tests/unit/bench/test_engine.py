"""What the benchmark of the engine computes from its figures, and what it asks."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

import engine
from engine_parts import batching, first_tokens, prefixes, table
from serving.answer import Answer

GOOD = {
    "batching_ratio": 3.2,
    "prefix_ttft_ratio": 0.25,
    "prefix_hit_tokens": 1,
    "uncached_ttft_ratio": 0.8,
    "uncached_hit_tokens": 0,
    "ttft_p50_ms": 50.0,
    "ttft_p99_ms": 200.0,
    "failed": 0,
}
BAD = {
    "batching_ratio": 3.19,
    "prefix_ttft_ratio": 0.26,
    "prefix_hit_tokens": 0,
    "uncached_ttft_ratio": 0.79,
    "uncached_hit_tokens": 1,
    "ttft_p50_ms": 50.1,
    "ttft_p99_ms": 200.1,
    "failed": 1,
}


def a_pair(first: float, second: float, hits: float, fresh_hits: float = 0.0) -> dict[str, float]:
    """Seconds of both prompts, and what came out of the cache."""
    times = {"first_s": first, "second_s": second, "first_tokens": 2012, "second_tokens": 2012}
    return times | {"first_hits": fresh_hits, "second_hits": hits}


def parts(second: float = 0.05, hits: float = 1920, answers: int = 100, not_sent: int = 0) -> dict[str, Any]:
    """Results of all parts."""
    asked = [Answer(0.0, [0.01 * (1 + number), 2.0], 64, 32) for number in range(answers)]
    return {
        "batching": batching.assemble([{"one": 100.0, "many": 500.0}, {"one": 50.0, "many": 300.0}]),
        "prefixes": {
            "on": prefixes.assemble([a_pair(0.5, second, hits)]),
            "off": prefixes.assemble([a_pair(0.5, 0.49, 0)]),
        },
        "first_tokens": first_tokens.assemble(asked, not_sent),
    }


def test_batching_compares_the_engines_of_one_round() -> None:
    found = batching.assemble(
        [{"one": 100.0, "many": 500.0}, {"one": 50.0, "many": 300.0}, {"one": 80.0, "many": 320.0}]
    )
    assert found["ratio"]["median"] == 5.0
    assert found["tokens_per_s_by_max_num_seqs"] == {"1": 80.0, "64": 320.0}


def test_a_prefix_is_judged_by_its_own_first_prompt_and_by_the_worst_count_of_the_cache() -> None:
    found = prefixes.assemble([a_pair(1.0, 0.1, 1920), a_pair(2.0, 0.6, 1792, 128), a_pair(0.4, 0.08, 1920)])
    assert found["ttft_ratio"] == 0.2
    assert (found["first_ttft_ms"], found["second_ttft_ms"]) == (1000.0, 100.0)
    assert found["hit_tokens"] == {"first_most": 128, "second_least": 1792, "second_most": 1920}


async def test_both_prompts_of_a_pair_share_their_prefix_and_no_two_pairs_do(fake: Any, monkeypatch: Any) -> None:
    seen: dict[str, float] = {prefixes.HITS: 0.0}

    async def look(*_: object) -> dict[str, float]:
        seen[prefixes.HITS] += 5
        return dict(seen)

    monkeypatch.setattr(prefixes.pages, "look", look)
    port = int(fake.url.rpartition(":")[2])
    server = prefixes.Server("fake", port, None)  # type: ignore[arg-type]
    pairs = await prefixes.ask_pairs(server, 3, random.Random(5))
    asked = [body["prompt"] for body in fake.asked if body.get("stream")][1:]
    begins = [" ".join(prompt.split()[: prefixes.PREFIX_TOKENS]) for prompt in asked]
    assert [begins[at] == begins[at + 1] for at in (0, 2, 4)] == [True] * 3
    assert len(set(begins)) == 3
    assert len(set(asked)) == 6, "they end differently"
    assert [(each["first_hits"], each["second_hits"]) for each in pairs] == [(5, 5)] * 3


async def test_the_load_has_so_many_requests_of_one_length(fake: Any) -> None:
    server = first_tokens.Server("fake", int(fake.url.rpartition(":")[2]), None)  # type: ignore[arg-type]
    found = await first_tokens.load(server, 200.0, 40, random.Random(5))
    assert (found["requests"], found["failed"], found["prompt_tokens"]) == (40, 0, [first_tokens.PROMPT_TOKENS])
    fake.fault = "http"
    failing = await first_tokens.load(server, 200.0, 10, random.Random(5))
    assert (failing["requests"], failing["failed"], failing["ttft_ms"]) == (10, 10, None)


def test_requests_that_were_not_sent_have_failed() -> None:
    assert first_tokens.assemble([Answer(0.0, error="timeout"), Answer(0.0, [1.0], 64, 32)], 3)["failed"] == 4


@pytest.mark.parametrize("name", table.TARGETS)
def test_a_target_is_met_at_its_bound_and_missed_beyond(name: str) -> None:
    assert all(table.kept(GOOD).values())
    assert [missed for missed, met in table.kept(GOOD | {name: BAD[name]}).items() if not met] == [name]


def test_the_headline_has_what_the_targets_name() -> None:
    figures = table.headline(parts())
    assert figures.keys() == table.TARGETS.keys()
    assert figures["batching_ratio"] == 5.5
    assert figures["prefix_ttft_ratio"] == 0.1
    assert figures["ttft_p50_ms"] == 505.0
    assert not table.kept(table.headline(parts(second=0.4, hits=0)))["prefix_hit_tokens"]
    assert table.headline({"batching": parts()["batching"]}).keys() == {"batching_ratio"}


def test_a_part_that_is_measured_alone_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "engine.json"
    engine.write(file, parts())
    again = {"batching": batching.assemble([{"one": 100.0, "many": 200.0}])}
    engine.write(file, again)
    reported = json.loads(file.read_text())
    assert (reported["batching"], reported["prefixes"]) == (again["batching"], parts()["prefixes"])
    assert (reported["batching_ratio"], reported["targets_met"]["batching_ratio"]) == (2.0, False)
    assert reported["targets_met"].keys() == table.TARGETS.keys()


def test_a_load_without_an_answer_keeps_no_target() -> None:
    met = table.kept(table.headline(parts(answers=0, not_sent=5)))
    assert [name for name, kept in met.items() if not kept] == ["ttft_p50_ms", "ttft_p99_ms", "failed"]


def test_the_table_says_what_was_missed() -> None:
    rows = table.table(GOOD | {"ttft_p99_ms": 250.5}).splitlines()
    assert [row for row in rows if "MISSED" in row] == [row for row in rows if re.search(r"p99.*250\.5", row)]
    assert len(rows) == len(GOOD)
