"""The models of the starter catalogue are valid, can be estimated, and say under which licence they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.services import a_service
from llmservice_contract.configuration import packed, relevant
from llmservice_operator.api.catalogue import ClusterLLMModelSpec
from llmservice_operator.api.model import MAX_MODEL_NAME
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.gpu_memory import gpus
from llmservice_operator.planner.conditions.fits import ask, found_in, verdict_on
from llmservice_operator.planner.model.catalogue import Resolution, resolve
from llmservice_operator.planner.model.fit_estimate import estimated
from llmservice_operator.resources import quantity

STATED_BY = {
    "Qwen/Qwen3-": "QwenLM/Qwen3",
    "Qwen/Qwen2.5-7B": "qwenlm.github.io/blog/qwen2.5",
    "Qwen/Qwen2.5-72B": "Qwen2.5-72B-Instruct/blob/main/LICENSE",
    "openai/": "openai/gpt-oss",
    "meta-llama/Llama-3.1": "models/llama3_1/LICENSE",
    "meta-llama/Llama-4": "models/llama4/LICENSE",
    "google/gemma": "ai.google.dev/gemma/terms",
    "ibm-granite/granite-3.1": "granite-3.1-language-models",
    "ibm-granite/granite-3.3": "granite-3.3-language-models",
    "mistralai/Mistral-Small-3.2": "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
    "mistralai/Mixtral": "docs.mistral.ai",
    "microsoft/": "microsoft/phi-4/resolve/main/LICENSE",
}
"""Part of the address of the page that states the licence, by the beginning of the repository's name."""

ROOT = Path(__file__).parents[3]
MODELS = [each for each in yaml.safe_load_all((ROOT / "manifests" / "catalogue.yaml").read_text()) if each]


def test_there_are_some_twenty_models_of_different_names() -> None:
    names = [each["metadata"]["name"] for each in MODELS]
    assert len(names) == len(set(names)) >= 20
    assert max(map(len, names)) <= MAX_MODEL_NAME


@pytest.mark.parametrize("model", MODELS, ids=lambda each: each["metadata"]["name"])
def test_its_licence_is_stated_by_a_page_on_that_model(model: dict[str, Any]) -> None:
    repository = model["spec"]["source"].removeprefix("hf://")
    (page,) = (page for start, page in STATED_BY.items() if repository.startswith(start))
    assert page in model["spec"]["licence"]["url"]


@pytest.mark.parametrize("model", MODELS, ids=lambda each: each["metadata"]["name"])
def test_a_service_can_use_it_and_its_size_explains_its_configuration(model: dict[str, Any]) -> None:
    entry = ClusterLLMModelSpec.model_validate(model["spec"])
    assert entry.licence is not None and entry.licence.url and entry.description
    service = a_service().from_catalogue(model["metadata"]["name"], "ClusterLLMModel").spread_over(tensor=8)
    found = resolve("team-a", LLMServiceSpec.model_validate(service.build()["spec"]), [model], readable=True)
    assert isinstance(found, Resolution) and found.spec.model.source == model["spec"]["source"]
    configuration = packed(relevant(json.loads(entry.config or "")))
    assert configuration is not None and entry.size is not None
    gpu = gpus.find("H200")
    assert gpu is not None
    question = ask(found.spec, configuration, int(quantity.parse(entry.size)), [gpu])
    assert verdict_on(found_in(estimated(question))).reason not in (
        "WeightsUnexplained",
        "NotModelled",
        "EstimateFailed",
    )
