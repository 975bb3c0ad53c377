"""Several engines in one replica, with real vLLM: one API server, requests to each, metrics of all, one end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract.diagnosis import diagnosis_from_json
from llmservice_operator.cli.top.figures import figures, read
from support.cluster import wait_until
from support.engine import Engine, make_model

ENGINES = 2
REQUESTS = 6
TOKENS = 8


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    directory = tmp_path_factory.mktemp("replica")
    settings = {"PARALLELISM_DATA": str(ENGINES), "CPU_KV_CACHE_GIB": "1", "MODEL_MAX_CONTEXT_LENGTH": "256"}
    with Engine(directory, make_model(directory / "tiny"), **settings) as engine:
        engine.wait_until_ready()
        yield engine


def by_engine(page: str, name: str) -> dict[str, float]:
    """A metric's values, summed for each engine."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels["engine"]] = found.get(sample.labels["engine"], 0) + sample.value
    return found


def named(engine: Engine, name: str) -> list[int]:
    """Its processes whose name contains this."""
    return sorted(pid for pid in engine.processes() if name in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))


def test_each_engine_gets_a_part_of_the_requests_and_all_are_counted(replica: Engine) -> None:
    before = read(replica.metrics(), 0.0)
    for _ in range(REQUESTS):
        replica.complete("The quick brown fox", max_tokens=TOKENS, ignore_eos=True)
    page = replica.metrics()
    ended = by_engine(page, "vllm:request_success_total")
    assert ended == {str(rank): REQUESTS / ENGINES for rank in range(ENGINES)}
    assert sum(by_engine(page, "vllm:generation_tokens_total").values()) == REQUESTS * TOKENS
    found = figures([(before, read(page, 1.0))])
    assert (found.requests_per_second, found.tokens_per_second) == (REQUESTS, REQUESTS * TOKENS)
    assert len(named(replica, "EngineCore")) == ENGINES


def test_no_client_chooses_its_engine(replica: Engine) -> None:
    before = by_engine(replica.metrics(), "vllm:request_success_total")
    for _ in range(REQUESTS):
        replica.complete("The quick brown fox", {"X-data-parallel-rank": "1"}, max_tokens=1)
    after = by_engine(replica.metrics(), "vllm:request_success_total")
    assert {rank: after[rank] - before[rank] for rank in after} == dict.fromkeys(after, REQUESTS / ENGINES)


def test_the_replica_ends_if_one_engine_ends(replica: Engine) -> None:
    """Last: no request waits for the engine that is gone, and the kubelet restarts the container."""
    os.kill(named(replica, "EngineCore_DP1")[0], signal.SIGKILL)
    wait_until(lambda: replica.process.poll() is not None, "the replica has ended", timeout=120, every=0.2)
    assert replica.process.returncode != 0
    assert diagnosis_from_json(replica.termination_log.read_text()) is not None
