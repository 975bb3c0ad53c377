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

ROOT = Path(__file__).parents[3]
MODELS = [each for each in yaml.safe_load_all((ROOT / "manifests" / "catalogue.yaml").read_text()) if each]


def test_there_are_some_twenty_models_of_different_names() -> None:
    names = [each["metadata"]["name"] for each in MODELS]
    assert len(names) == len(set(names)) >= 20
    assert max(map(len, names)) <= MAX_MODEL_NAME


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
