"""The runtime around real vLLM on this machine's CPU: answers, ranks, stopping, failing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract.diagnosis import diagnosis_from_json
from llmservice_contract.metrics import BUCKETS
from llmservice_operator.autoscaling.prometheus_queries import HISTOGRAMS, queries
from support.engine import Engine, make_model
from support.engines import LATENCIES
from support.web import answers

PROMPTS = ["The quick brown fox", "What is the capital of France?", "Permission is hereby granted, free of"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def engine(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One rank, ready."""
    with Engine(tmp_path_factory.mktemp("engine"), model, MAX_CONTEXT_LENGTH="512") as running:
        running.wait_until_ready()
        yield running


def greedy_tokens(engine: Engine) -> list[list[int]]:
    answers = [engine.complete(prompt, max_tokens=24, ignore_eos=True, return_token_ids=True) for prompt in PROMPTS]
    return [answer["choices"][0]["token_ids"] for answer in answers]


def test_a_stream_says_what_a_plain_answer_says(engine: Engine) -> None:
    plain = engine.complete(PROMPTS[0])
    chunks = list(engine.stream(PROMPTS[0]))
    assert plain["usage"]["completion_tokens"] > 1
    assert len(chunks) > 1
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == plain["choices"][0]["text"]


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_it_serves_addresses_of_both_families(engine: Engine, address: str) -> None:
    for url in (f"http://{address}:{engine.port}/health", f"http://{address}:{engine.metrics_port}/metrics"):
        assert answers(url)


def test_latencies_are_counted_in_the_buckets_and_under_the_names_that_scaling_reads(engine: Engine) -> None:
    greedy_tokens(engine)
    found: dict[str, set[float]] = {}
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(engine.metrics()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
            if "le" in sample.labels:
                found.setdefault(sample.name, set()).add(float(sample.labels["le"]))
    for family, name in LATENCIES.items():
        assert found[f"{name}_bucket"] == {*BUCKETS[family], math.inf}
    asked = {name for query in queries(60).values() for name in re.findall(r"vllm:\w+", query)}
    asked -= set(HISTOGRAMS.values())  # without a suffix: native histograms, which vLLM does not expose
    assert asked <= labels.keys(), "each name that is asked for is exposed"
    assert labels["vllm:num_requests_running"] == {"model_name", "engine"}
    assert labels["vllm:request_success_total"] == {"model_name", "engine", "finished_reason"}


def test_two_ranks_give_the_tokens_of_one_and_stopping_leaves_nothing(
    engine: Engine, model: Path, tmp_path: Path
) -> None:
    with Engine(tmp_path, model, MAX_CONTEXT_LENGTH="512", TENSOR_PARALLEL_SIZE="2") as two:
        two.wait_until_ready()
        descendants = two.processes()
        assert len(descendants) > len(engine.processes()), "a second rank is a process of its own"
        assert greedy_tokens(two) == greedy_tokens(engine)
        assert two.stop() == 0
    assert not [pid for pid in descendants if Path(f"/proc/{pid}").exists()]
    assert not two.termination_log.exists(), "an engine with a stop signal writes no termination message"


def test_a_checkpoint_of_another_kind_stops_before_vllm_is_loaded(model: Path, tmp_path: Path) -> None:
    with Engine(tmp_path, model, QUANTIZATION_MODE="int4") as refused:
        assert refused.process.wait(60) == 78
        assert "vllm serve" not in refused.log_end()
        reported = diagnosis_from_json(refused.termination_log.read_text())
        assert (reported.finding.reason, reported.finding.field) == ("WrongCheckpoint", "spec.quantization.method")
        assert reported.finding.message.startswith("QUANTIZATION_METHOD=int4 needs a compressed-tensors")
