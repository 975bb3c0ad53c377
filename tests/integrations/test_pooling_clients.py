"""Models that embed, score and rerank, by the SDKs of OpenAI and Cohere and by LiteLLM, in front of real vLLM."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract.policy import Policy
from support.access import AccessFiles
from support.cache import CACHE
from support.engine import ROOT, Engine, make_chat_model
from support.guarded import CAPS, CLIENT, KEYS, TIERS

CALLS_SECONDS = 240
DIMENSIONS = 16
EMBEDDING = {
    "ENGINE_RUNNER": "pooling",
    "ENGINE_CONVERT": "embed",
    "ENGINE_HF_OVERRIDES": json.dumps({"is_matryoshka": True}),
}
SCORING = {
    "ENGINE_RUNNER": "pooling",
    "ENGINE_HF_OVERRIDES": json.dumps(
        {
            "architectures": ["Qwen3ForSequenceClassification"],
            "classifier_from_token": ["no", "yes"],
            "is_original_qwen3_reranker": True,
        }
    ),
}
Outcomes = dict[str, dict[str, Any]]


@contextmanager
def calls(kind: str, directory: Path, **environ: str) -> Iterator[Outcomes]:
    """What the SDKs got, by the names of the calls."""
    python = CACHE / "venvs" / "clients" / "bin" / "python"
    if not python.exists():
        pytest.fail("the SDKs are not on this machine: hack/venv/clients")
    access = AccessFiles(directory, Policy(require_keys=True, tiers=TIERS, caps=CAPS))
    keys = {name: access.make_key(tier) for name, tier in KEYS.items()}
    model = make_chat_model(directory / "chat")
    # An empty instruction changes no vector, and lets Cohere's SDK say what its texts are for.
    (model / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"search_document": ""}}))
    with Engine(directory, model, **environ, **access.environ) as engine:
        engine.wait_until_ready()
        script = [python, "-P", ROOT / "tests" / "support" / "pooling_calls.py", kind]
        place = [f"http://127.0.0.1:{engine.port}", keys[CLIENT], keys["busy"]]
        done = subprocess.run([*script, *place], capture_output=True, text=True, timeout=CALLS_SECONDS)
        assert done.returncode == 0, done.stderr[-4000:]
        found: Outcomes = json.loads(done.stdout.splitlines()[-1])
        yield found | {"charged": {"value": charged(engine.metrics())}}


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    with calls("embed", tmp_path_factory.mktemp("embed"), **EMBEDDING) as found:
        yield found


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    with calls("score", tmp_path_factory.mktemp("score"), **SCORING) as found:
        yield found


def charged(page: str) -> dict[str, float]:
    """Tokens of prompts by tier."""
    found = re.findall(r'^llm_tokens_total\{key_id="\w+",kind="prompt",tier="(\w+)"\} (\S+)', page, re.MULTILINE)
    return {tier: float(tokens) for tier, tokens in found}


def refused(outcome: dict[str, Any]) -> tuple[str, int, str | None]:
    """The SDK's exception, its status, and the gateway's code or the message of Cohere's form."""
    body = outcome["body"]
    error = body.get("error", body)
    if "id" in body:
        assert body["message"] == error["message"] and body["id"]
    return outcome["error"], outcome["status_code"], error.get("code")


def test_vectors_are_the_same_by_each_sdk_and_encoding(embedding: Outcomes) -> None:
    one, other = embedding["openai"]["value"]
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-3)
    assert math.dist(one, other) > 0.01
    for name in ("openai float", "cohere", "pooling", "litellm"):
        for vector, same in zip((one, other), embedding[name]["value"], strict=True):
            assert math.dist(vector, same) < 1e-3, name


def test_vectors_can_be_shorter(embedding: Outcomes) -> None:
    assert [len(each) for each in embedding["openai dimensions"]["value"]] == [DIMENSIONS, DIMENSIONS]
    assert len(embedding["openai"]["value"][0]) > DIMENSIONS


def test_an_input_type_needs_a_model_with_an_instruction_for_it(embedding: Outcomes) -> None:
    """Cohere's SDK always sends one; this model has an instruction for search_document."""
    found = embedding["cohere without instruction"]
    assert found["status_code"] == 400
    assert "input_type" in found["body"]["error"]["message"]


def test_lists_of_token_ids_are_prompts(embedding: Outcomes) -> None:
    assert len(embedding["openai token ids"]["value"]) == 2


def test_refusals_reach_the_sdks_of_embeddings(embedding: Outcomes) -> None:
    assert refused(embedding["openai unknown key"]) == ("AuthenticationError", 401, "invalid_api_key")
    assert refused(embedding["openai above a cap"]) == ("BadRequestError", 400, "prompts")
    assert refused(embedding["cohere unknown key"]) == ("UnauthorizedError", 401, "invalid_api_key")
    assert refused(embedding["cohere above a cap"]) == ("BadRequestError", 400, "prompts")


def test_embeddings_are_charged_what_vllm_counted(embedding: Outcomes) -> None:
    tokens = embedding["openai usage"]["value"]["prompt_tokens"]
    answered = 7 * tokens + 4  # the calls with TEXTS, and one with four token ids
    assert answered <= embedding["charged"]["value"]["many"] <= 2 * answered  # those that vLLM refused pay something


def test_documents_are_ranked_the_same_by_each_sdk_and_route(scoring: Outcomes) -> None:
    ranked = scoring["cohere"]["value"]
    assert sorted(index for index, _ in ranked) == [0, 1, 2]
    assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)
    for name in ("jina", "rerank", "litellm"):
        assert [index for index, _ in scoring[name]["value"]] == [index for index, _ in ranked], name
    for name in ("cohere top", "jina top"):
        assert [index for index, _ in scoring[name]["value"]] == [index for index, _ in ranked][:2], name
    by_index = [score for _, score in sorted(ranked)]
    for name in ("score", "score of pairs"):
        assert scoring[name]["value"] == pytest.approx(by_index, abs=1e-3)


def test_classes_have_probabilities(scoring: Outcomes) -> None:
    assert all(0 <= each <= 1 for (each,) in scoring["classify"]["value"])


def test_refusals_reach_the_sdks_of_scores(scoring: Outcomes) -> None:
    assert refused(scoring["cohere unknown key"]) == ("UnauthorizedError", 401, "invalid_api_key")
    assert refused(scoring["cohere above a cap"]) == ("BadRequestError", 400, "prompts")
    assert refused(scoring["cohere above a limit"]) == ("TooManyRequestsError", 429, "rate_limit_exceeded")
    assert refused(scoring["score unknown key"]) == ("AuthenticationError", 401, "invalid_api_key")
    for name in ("score above a cap", "classify above a cap"):
        assert refused(scoring[name]) == ("BadRequestError", 400, "prompts")
    assert (scoring["another model"]["error"], scoring["another model"]["status_code"]) == ("NotFoundError", 404)


def test_scores_are_charged_what_vllm_counted(scoring: Outcomes) -> None:
    pairs = scoring["score usage"]["value"]["prompt_tokens"]
    full = 8  # calls with all pairs, whose documents are not cut
    assert scoring["charged"]["value"]["many"] >= full * pairs
    assert "tight" not in scoring["charged"]["value"], "three pairs are above a limit of two"
