"""What would not start whatever the memory: a method that contradicts the checkpoint, and GPUs that are too old."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmservice_contract.configuration import packed, relevant, unpacked
from llmservice_contract.quantization import storage
from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.gpus import GPU
from llmservice_operator.gpu_memory.ledger import Reason, Verdict
from llmservice_operator.gpu_memory.request import Request
from llmservice_runtime.model.checkpoint import WrongCheckpoint, quantization_flag
from support.small_models import MODELS

LLAMA = MODELS["llama"]
H100 = gpus.find("H100")
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128}
INT8 = {"num_bits": 8, "type": "int", "strategy": "channel"}
W8A8 = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"targets": ["Linear"], "weights": INT8}}}
STORED: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "awq": AWQ,
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "fp8": {"quant_method": "fp8"},
    "int8": W8A8,
}
METHODS = ("auto", "none", "fp8", "int8", "int4", "awq", "gptq")


def config_of(stored: str) -> dict[str, Any]:
    quantization = STORED[stored]
    return LLAMA if quantization is None else {**LLAMA, "quantization_config": quantization}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stored", STORED)
def test_a_method_is_refused_exactly_if_the_runtime_refuses_it(method: str, stored: str) -> None:
    """Also of the part of config.json that an inspection passes on."""
    config = config_of(stored)
    try:
        quantization_flag(method, storage(config))
        refused = False
    except WrongCheckpoint:
        refused = True
    for seen in (config, unpacked(packed(relevant(config)))):
        found = fit(Request(seen, H100, quantization=method))
        assert (found.reason is Reason.WRONG_CHECKPOINT) is refused, found.message
        assert (found.verdict is Verdict.DOES_NOT_FIT) is refused


def test_a_contradiction_suggests_to_load_the_weights_as_they_are_stored() -> None:
    found = fit(Request(config_of("awq"), H100, quantization="gptq"))
    assert {"spec.quantization.method": "auto"} in [each.change for each in found.suggestions]
    assert "awq" in found.message and "gptq" in found.message


def test_fp8_of_16_bit_weights_on_a_cpu_is_refused_as_the_runtime_refuses_it() -> None:
    request = Request(LLAMA, GPU("CPU", 0), cpu_cache=4 << 30)
    assert fit(request).verdict is Verdict.FITS
    assert fit(replace(request, quantization="fp8")).reason is Reason.WRONG_CHECKPOINT
    assert fit(replace(request, quantization="fp8", config=config_of("fp8"))).verdict is Verdict.FITS


@pytest.mark.parametrize(
    ("gpu", "quantization", "refused"),
    [
        ("V100", None, True),
        ("T4", None, False),
        ("T4", AWQ, False),
        ("T4", {"quant_method": "mxfp4"}, True),
        ("T4", {"quant_method": "fbgemm_fp8"}, True),
        ("T4", {"quant_method": "modelopt", "quant_algo": "FP8"}, True),
        ("T4", {"quant_method": "modelopt", "quant_algo": "NVFP4"}, False),
        ("A10", {"quant_method": "modelopt", "quant_algo": "FP8"}, False),
        ("MI300X", None, False),
    ],
)
def test_gpus_on_which_vllm_does_not_run_are_too_old(gpu: str, quantization: dict | None, refused: bool) -> None:
    config = {**LLAMA, "quantization_config": quantization} if quantization else LLAMA
    found = fit(Request(config, gpus.find(gpu)))
    assert (found.reason is Reason.GPU_TOO_OLD) is refused, found.message


def test_an_older_vllm_ran_on_older_gpus() -> None:
    assert fit(Request(LLAMA, gpus.find("V100"), vllm=(0, 11))).reason is not Reason.GPU_TOO_OLD


def test_a_gpu_that_is_too_old_suggests_newer_ones_also_smaller_ones() -> None:
    (product,) = [each.change for each in fit(Request(LLAMA, gpus.find("V100"))).suggestions]
    assert gpus.find(product["spec.accelerator.products"]).capability >= 7.5
