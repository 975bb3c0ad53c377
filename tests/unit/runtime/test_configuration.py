"""The part of config.json that travels to the operator: enough for the fit, short enough for a termination message."""

import base64
import dataclasses
import json
import zlib

import pytest

from llmservice_contract.configuration import NotAConfiguration, packed, relevant, unpacked
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.gpus import find
from llmservice_operator.gpu_memory.request import Request
from support.published import measurements
from support.small_models import MODELS

H100 = find("H100")


@pytest.mark.parametrize("name", MODELS)
def test_the_fit_of_the_part_is_that_of_the_whole(name: str):
    whole = Request({**MODELS[name], "transformers_version": "5.0", "auto_map": {"a": "b"}}, H100)
    part = unpacked(packed(relevant(whole.config)))
    assert "transformers_version" not in part
    assert fit(dataclasses.replace(whole, config=part)) == fit(whole)


@pytest.mark.parametrize("measured", measurements(), ids=str)
def test_well_known_models_travel_whole(measured):
    part = unpacked(packed(relevant(measured.config)))
    assert fit(dataclasses.replace(measured.request, config=part)) == fit(measured.request)


def test_hundreds_of_modules_that_are_not_quantized_still_travel():
    names = [f"model.layers.{layer}.{each}" for layer in range(94) for each in ("mlp.gate", "input_layernorm", "norm")]
    config = {**MODELS["llama"], "quantization_config": {"quant_method": "fp8", "modules_to_not_convert": names}}
    assert unpacked(packed(relevant(config))) == relevant(config)


def test_what_is_too_long_is_left_out():
    names = [base64.b64encode(str(number * 7919).encode()).decode() for number in range(3000)]
    assert packed({"quantization_config": {"ignore": names}}) is None
    assert packed({"model_type": "x" * 100_000}) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64 at all!",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(zlib.compress(b"not JSON")).decode(),
        base64.b64encode(zlib.compress(b"[1]")).decode(),
        base64.b64encode(zlib.compress(b"{}")[:-3]).decode(),
        base64.b64encode(zlib.compress(json.dumps({"a": "b" * 1_000_000}).encode())).decode(),
    ],
)
def test_anything_else_is_refused(text: str):
    with pytest.raises(NotAConfiguration):
        unpacked(text)
