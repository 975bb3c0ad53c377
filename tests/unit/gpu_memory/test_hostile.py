"""config.json is untrusted: for any content there is an answer, within a short time."""

import copy
import json
import time

import pytest

from llmservice_operator.gpu_memory import fit as module
from llmservice_operator.gpu_memory.architectures.stack import MOST_LAYERS
from llmservice_operator.gpu_memory.fit import each_fit, fit
from llmservice_operator.gpu_memory.gpus import KNOWN
from llmservice_operator.gpu_memory.ledger import Reason, Verdict
from llmservice_operator.gpu_memory.pieces import MOST_EXPERTS
from llmservice_operator.gpu_memory.request import Request
from support.small_models import MODELS

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}
MIXTURE = next(model for model in MODELS.values() if model["architectures"] == ["Qwen3MoeForCausalLM"])
H100 = next(gpu for gpu in KNOWN if "H100" in gpu.name)
SECONDS = 5.0
"""Far more than any of these takes on a busy machine, and far less than each took before it was bounded."""


def _ignoring(*patterns: str) -> dict:
    groups = {"group": {"targets": ["Linear"], "weights": {"num_bits": 8}}}
    quantization = {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": list(patterns)}
    return {**LLAMA, "quantization_config": quantization}


@pytest.mark.parametrize(
    "config",
    [
        _ignoring("re:a{99999999999}"),
        _ignoring("re:" + "(" * 5000),
        _ignoring("re:(?!x)y"),
        _ignoring(*["*a*b*c*"] * 4000),
        {**LLAMA, "num_hidden_layers": MOST_LAYERS + 1},
        {**MIXTURE, "num_experts": MOST_EXPERTS + 1},
        {**LLAMA, "hidden_size": 1 << 80},
    ],
    ids=lambda config: str(config)[-40:],
)
def test_what_is_not_supported_is_not_modelled(config: dict):
    found = fit(Request(config, H100))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.NOT_MODELLED)


def test_a_layer_number_that_is_none_is_ignored():
    assert fit(Request({**MIXTURE, "mlp_only_layers": [[1], {}, "x"]}, H100)).verdict is Verdict.FITS


@pytest.mark.parametrize(
    "error", [RecursionError(), OverflowError(), TypeError("x"), MemoryError(), ZeroDivisionError()]
)
def test_whatever_is_raised_is_an_answer_with_its_type(error: Exception, monkeypatch: pytest.MonkeyPatch):
    def raising(*_):
        raise error

    monkeypatch.setattr(module, "_verdict", raising)
    found = fit(Request(LLAMA, H100))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.ESTIMATE_FAILED)
    assert type(error).__name__ in found.message


def test_an_error_among_remedies_is_an_answer(monkeypatch: pytest.MonkeyPatch):
    def raising(*_):
        raise RecursionError

    monkeypatch.setattr(module, "find", raising)
    found = fit(Request({**LLAMA, "num_hidden_layers": 256}, H100))
    assert found.verdict is Verdict.UNKNOWN
    assert "RecursionError" in found.message


@pytest.mark.parametrize(
    "config",
    [
        _ignoring("re:(\\w+\\.?)+!"),
        _ignoring("re:(a|aa)+$", "re:(.*)*x"),
        {**_ignoring(*[f"re:.*{number}x.*y" for number in range(60)]), "num_hidden_layers": 256},
        {**LLAMA, "num_hidden_layers": 256, "hidden_size": 16384, "num_attention_heads": 128},
    ],
    ids=["nested", "alternatives", "many", "layers"],
)
def test_a_hostile_model_takes_no_longer_than_a_large_one(config: dict):
    before = time.process_time()
    each_fit([Request(config, gpu) for gpu in KNOWN[:16]])
    assert time.process_time() - before < SECONDS


def test_several_gpus_are_answered_as_each_alone():
    config = json.loads(json.dumps(copy.deepcopy(MIXTURE)))
    requests = [Request(config, gpu) for gpu in KNOWN[:6]]
    assert each_fit(requests) == [fit(request) for request in requests]
