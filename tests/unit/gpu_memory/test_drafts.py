"""The draft model of speculative decoding: its weights and its KV cache count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.ledger import Reason, Verdict
from llmservice_operator.gpu_memory.request import Draft, Request
from llmservice_operator.planner.conditions.fits import question
from support.published import measurements
from support.small_models import MODELS

CONFIGS = {each.row["model"]: each.config for each in measurements()}
QWEN_32B = CONFIGS["Qwen/Qwen3-32B"]
H100, B200 = gpus.find("H100"), gpus.find("B200")
SMALL = Request(MODELS["llama"], H100, max_context=64)


def test_weights_and_cache_of_the_draft_count() -> None:
    alone = fit(replace(SMALL, gpu=B200))
    both = fit(replace(SMALL, gpu=B200, draft=Draft("hf://Qwen/Qwen3-32B", QWEN_32B)))
    whole = fit(Request(QWEN_32B, B200))
    assert both.ledger.weights == alone.ledger.weights + whole.ledger.weights
    assert both.ledger.parts["draft"] == whole.ledger.weights
    assert both.ledger.per_token == alone.ledger.per_token + whole.ledger.per_token
    assert both.blocks < alone.blocks


def test_a_draft_that_is_too_large_does_not_fit_and_may_be_left_out() -> None:
    request = replace(SMALL, gpu=gpus.find("L40S"), draft=Draft("hf://Qwen/Qwen3-32B", QWEN_32B))
    found = fit(request)
    assert (found.verdict, found.reason) == (Verdict.DOES_NOT_FIT, Reason.NO_ROOM_FOR_CACHE)
    assert {"spec.engine.speculative": "none"} in [each.change for each in found.suggestions]


def test_a_draft_that_is_not_known_is_never_left_out_without_a_word() -> None:
    found = fit(replace(SMALL, draft=Draft("hf://org/draft")))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.NOT_MODELLED)
    assert "hf://org/draft" in found.message and "fits" in found.message
    assert found.ledger.weights is not None
    odd = fit(replace(SMALL, draft=Draft("hf://org/draft", {"architectures": ["Unheard"]})))
    assert (odd.verdict, "draft model hf://org/draft" in odd.message) == (Verdict.UNKNOWN, True)


def test_a_model_that_does_not_fit_without_its_draft_does_not_fit() -> None:
    assert fit(Request(QWEN_32B, gpus.find("A10"), draft=Draft("hf://org/draft"))).verdict is Verdict.DOES_NOT_FIT


@pytest.mark.parametrize("tensor", [1, 2])
@pytest.mark.parametrize("pipeline", [1, 2])
def test_a_split_model_has_its_draft_on_the_last_stage(tensor: int, pipeline: int) -> None:
    request = replace(SMALL, tensor=tensor, pipeline=pipeline, draft=Draft("pvc://models/draft", MODELS["llama"]))
    found = fit(request)
    alone = fit(replace(request, draft=None))
    assert found.verdict is Verdict.FITS
    assert found.ledger.weights > alone.ledger.weights


def test_a_service_asks_with_its_draft() -> None:
    speculative = {"method": "draft", "model": "hf://org/draft"}
    spec = LLMServiceSpec.model_validate(
        {"model": {"source": "hf://org/model"}, "engine": {"speculative": speculative}}
    )
    assert question(spec, {}, H100).draft == Draft("hf://org/draft")
    plain = LLMServiceSpec.model_validate(
        {"model": {"source": "hf://org/model"}, "engine": {"speculative": {"method": "ngram"}}}
    )
    assert question(plain, {}, H100).draft is None
