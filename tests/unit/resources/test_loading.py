"""How long loading may take: a bound that real models stay within, from the spec alone."""

import pytest

from builders.cases import H100
from builders.services import ServiceBuilder, a_service
from llmservice_contract.engine_settings import STARTUP_BUDGET_SECONDS
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources.loading import budget_seconds, parameters_by_name, weight_bytes


def spec(builder: ServiceBuilder) -> LLMServiceSpec:
    return LLMServiceSpec.model_validate(builder.build()["spec"])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("hf://meta-llama/Llama-3.1-8B-Instruct", 8e9),
        ("hf://Qwen/Qwen2.5-1.5B", 1.5e9),
        ("hf://Qwen/Qwen1.5-0.5B-Chat", 0.5e9),
        ("hf://mistralai/Mixtral-8x7B-Instruct-v0.1", 56e9),
        ("hf://Qwen/Qwen3-30B-A3B", 30e9),
        ("hf://org/draft-1B-of-70B", 70e9),
        ("hf://HuggingFaceTB/SmolLM2-135M", 135e6),
        ("hf://google/gemma-2b-it", 2e9),
        ("pvc://models/llama-70b/v2", 70e9),
        ("hf://meta-llama/Llama-4-Scout-17B-16E", 272e9),
        ("hf://microsoft/Phi-3-mini-4k-instruct", None),
        ("hf://org/model-4bit", None),
        ("pvc://models/chat", None),
    ],
)
def test_a_models_name_tells_its_parameters(name: str, parameters: float | None) -> None:
    assert parameters_by_name(name) == parameters


BUDGETS = {
    "nothing known": (a_service(), 1800),
    "a small model": (a_service().with_spec(model={"size": "100Mi"}), 600),
    "a claim, by its size": (a_service().with_spec(model={"size": "140G"}), 300 + 1400),
    "the hub is slower": (a_service().from_source("hf://org/x").with_spec(model={"size": "140G"}), 300 + 2800),
    "S3 too": (a_service().from_source("s3://bucket/x").with_spec(model={"size": "140G"}), 300 + 2800),
    "16 bits by the name": (a_service().from_source("hf://org/x-70B"), 300 + 2800),
    "fp8 loads 16 bits": (
        a_service().from_source("hf://org/x-70B").with_spec(quantization={"method": "fp8"}),
        300 + 2800,
    ),
    "four bits by the name": (
        a_service().from_source("hf://org/x-70B").with_spec(quantization={"method": "awq"}),
        300 + 840,
    ),
    "what the GPUs hold": (a_service().on(H100).spread_over(tensor=2, pipeline=2), 300 + 3200),
    "each engine reads a dense model": (
        a_service().from_source("hf://org/x-70B").with_spec(parallelism={"data": 2}),
        300 + 5600,
    ),
    "all engines read no more than their GPUs hold": (
        a_service().from_source("hf://org/x-70B").on(H100).with_spec(parallelism={"tensor": 2, "data": 1}),
        300 + 2800,
    ),
    "engines share the experts of a model that fits them all": (
        a_service().from_source("hf://org/x-140B").on(H100).with_spec(parallelism={"data": 4}),
        300 + 6400,
    ),
    "the largest of the GPUs": (a_service().on("NVIDIA-L4", "NVIDIA-H200"), 300 + 1410),
    "an unknown GPU": (a_service().on(H100, "NVIDIA-X1"), 1800),
    "the size stated comes first": (
        a_service().from_source("hf://org/x-70B").on(H100).with_spec(model={"size": "1Gi"}),
        600,
    ),
    "a day at most": (a_service().with_spec(model={"size": "1Pi"}), 86_400),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_the_budget_follows_from_the_spec(name: str) -> None:
    service, seconds = BUDGETS[name]
    assert budget_seconds(spec(service)) == seconds
    assert STARTUP_BUDGET_SECONDS.parse(str(seconds)) == seconds


def test_replicas_and_settings_do_not_change_the_budget() -> None:
    service = a_service().from_source("hf://org/x-70B")
    other = service.with_replicas(7).with_spec(engine={"maxNumSeqs": 7})
    assert budget_seconds(spec(service)) == budget_seconds(spec(other))


@pytest.mark.parametrize(
    ("product", "gigabytes"),
    [("NVIDIA-A100-SXM4-40GB", 40), ("Tesla-T4", 16), ("NVIDIA-L40S", 48), ("NVIDIA-A10G", 24), ("NVIDIA-GB200", 192)],
)
def test_products_have_their_memory(product: str, gigabytes: int) -> None:
    assert weight_bytes(spec(a_service().on(product))) == gigabytes * 1e9
