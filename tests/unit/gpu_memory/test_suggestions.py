"""Suggestions: that they can be scheduled, that none is there twice, and that none wastes GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.ledger import Fit, Reason, Verdict
from llmservice_operator.gpu_memory.request import Request
from support.published import measurements

CONFIGS = {each.row["model"]: each.config for each in measurements()}
QWEN_32B = CONFIGS["Qwen/Qwen3-32B"]
TENSOR, PIPELINE, NODES = (f"spec.parallelism.{name}" for name in ("tensor", "pipeline", "nodesPerReplica"))
PRODUCTS = "spec.accelerator.products"
DATA = "spec.parallelism.data"
LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}
LLAMA_405B = {
    **LLAMA_8B,
    "hidden_size": 16384,
    "intermediate_size": 53248,
    "num_attention_heads": 128,
    "num_hidden_layers": 126,
}


def changes(found: Fit) -> list[dict[str, Any]]:
    assert found.verdict is Verdict.DOES_NOT_FIT
    return [dict(each.change) for each in found.suggestions]


def test_if_two_gpus_are_enough_no_more_are_suggested() -> None:
    found = fit(Request(LLAMA_8B, gpus.find("T4")))
    more = [each for each in found.suggestions if PRODUCTS not in each.change]
    assert {TENSOR: 2} in [each.change for each in more]
    assert {each.fit.gpus for each in more} <= {1, 2}


def test_a_model_that_can_t_be_split_by_three_is_suggested_for_fewer_and_for_more() -> None:
    found = fit(Request(LLAMA_8B, gpus.find("H100"), tensor=3))
    assert found.reason is Reason.HEADS_NOT_DIVISIBLE
    assert [each[TENSOR] for each in changes(found) if set(each) == {TENSOR}] == [1, 2, 4]


@pytest.mark.parametrize("model", ["8B", "405B", "32B"])
@pytest.mark.parametrize("gpu", ["H100", "L4", "T4", "MI250X"])
@pytest.mark.parametrize("tensor", [1, 3, 8])
def test_nothing_is_suggested_twice_and_everything_can_be_scheduled(model: str, gpu: str, tensor: int) -> None:
    config = {"8B": LLAMA_8B, "405B": LLAMA_405B, "32B": QWEN_32B}[model]
    vendor = gpus.find(gpu).vendor
    found = fit(Request(config, gpus.find(gpu), tensor=tensor, vendor=vendor))
    shown = [dict(each.change) for each in found.suggestions]
    assert all(shown.count(each) == 1 for each in shown)
    for change in shown:
        gpus_in_all = change.get(TENSOR, tensor) * change.get(PIPELINE, 1)
        assert gpus_in_all / change.get(NODES, 1) <= 8, "few nodes have more"
        assert gpus_in_all % change.get(NODES, 1) == 0
        if PRODUCTS in change:
            assert gpus.find(change[PRODUCTS]).vendor == vendor


def test_gpus_of_amd_are_suggested_by_the_value_of_their_node_label() -> None:
    found = fit(Request(LLAMA_405B, gpus.find("MI250X"), tensor=8, vendor="amd"))
    (product,) = [each[PRODUCTS] for each in changes(found) if PRODUCTS in each]
    assert product.startswith("AMD_Instinct_MI")


def test_a_slice_of_a_gpu_is_never_suggested_several_times_over() -> None:
    """Several slices can't serve one model, and a slice has no product label of its own."""
    found = fit(Request(QWEN_32B, gpus.find("NVIDIA-A100-SXM4-80GB-MIG-3g.40gb")))
    assert not {TENSOR, PIPELINE, NODES, PRODUCTS} & {field for each in changes(found) for field in each}


def test_if_nothing_helps_there_is_no_suggestion() -> None:
    assert changes(fit(Request(LLAMA_405B, gpus.find("L4")))) == []


def test_32_bit_weights_are_loaded_in_16_bits() -> None:
    request = Request({**LLAMA_8B, "torch_dtype": "float32"}, gpus.find("H100"))
    weights = fit(request).ledger.weights
    assert fit(replace(request, stored_bytes=2 * weights)).ledger.weights == weights
    unstated = Request(LLAMA_8B, gpus.find("H100"), stored_bytes=2 * weights)
    assert fit(unstated).ledger.weights == weights
    stated = replace(unstated, config={**LLAMA_8B, "torch_dtype": "bfloat16"})
    assert fit(stated).reason is Reason.WEIGHTS_UNEXPLAINED


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("H20", 94),
        ("GB300", 273),
        ("MI355X", 283),
        ("AMD_Instinct_MI300X_OAM", 191),
        ("NVIDIA-A100-SXM4-80GB-MIG-3g.40gb", 38),
        ("nvidia.com/mig-1g.10gb", 9.5),
        ("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me", 9.5),
    ],
)
def test_gpus_that_people_have_are_known(name: str, gib: float) -> None:
    found = gpus.find(name)
    assert found is not None
    assert found.total / (1 << 30) == pytest.approx(gib, abs=1)
    assert found.is_slice is ("mig" in name.lower())


def test_fewer_engines_on_the_same_gpus_are_suggested() -> None:
    found = fit(Request(QWEN_32B, gpus.find("A100-40GB") or gpus.find("A10"), data=4, max_context=4096))
    assert found.verdict is Verdict.DOES_NOT_FIT
    first = found.suggestions[0]
    assert first.change.keys() >= {TENSOR, DATA}
    assert first.change[TENSOR] * first.change[DATA] == 4 and first.fit.gpus == 4


@pytest.mark.parametrize("data", [2, 3, 8])
def test_no_suggestion_spreads_several_engines_over_nodes(data: int) -> None:
    found = fit(Request(LLAMA_405B, gpus.find("H100"), data=data))
    assert found.verdict is Verdict.DOES_NOT_FIT
    for each in found.suggestions:
        assert NODES not in each.change or each.change.get(DATA) == 1
