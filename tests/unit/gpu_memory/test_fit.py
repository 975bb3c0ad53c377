"""Verdicts: what is said, of what, and what would help."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from llmservice_operator.gpu_memory import gpus
from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.ledger import Fit, Reason, Verdict
from llmservice_operator.gpu_memory.matrix import Part
from llmservice_operator.gpu_memory.request import VLLM, Lora, Request
from support.published import measurements
from support.small_models import MODELS

PROJECT = Path(__file__).parents[3] / "pyproject.toml"
CONFIGS = {each.row["model"]: each.config for each in measurements()}
H100, A10 = gpus.find("H100"), gpus.find("A10")
QWEN = Request(CONFIGS["Qwen/Qwen3-32B"], H100, utilization=0.9, max_context=16000)


def _with(request: Request, **changes) -> Fit:
    return fit(dataclasses.replace(request, **changes))


def test_a_ledger_adds_up():
    ledger = fit(QWEN).ledger
    parts = ledger.weights + ledger.activation + ledger.graphs + ledger.outside + ledger.cache
    assert ledger.requested == parts == int(ledger.total * 0.9)
    assert sum(ledger.parts.values()) == ledger.weights


def test_it_fits_up_to_the_longest_context_and_not_beyond():
    longest = _with(QWEN, max_context=40960).longest
    assert _with(QWEN, max_context=longest).verdict is Verdict.FITS
    beyond = _with(QWEN, max_context=longest + 16)
    assert (beyond.verdict, beyond.reason) == (Verdict.DOES_NOT_FIT, Reason.CACHE_TOO_SMALL) or beyond.longest > longest


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"gpu": A10}, Reason.NO_ROOM_FOR_CACHE, "nothing is left for the KV cache"),
        ({"max_context": 40000}, Reason.CACHE_TOO_SMALL, "one request of 40000 tokens needs 9.8 GiB of KV cache"),
        ({"max_context": 50000}, Reason.CONTEXT_TOO_LONG, "exceeds the model's maximum of 40960 tokens"),
        ({"utilization": 1.0}, Reason.GPU_MEMORY_TAKEN, "gpuMemoryUtilization 1 requests 79.2 GiB"),
        ({"tensor": 3}, Reason.HEADS_NOT_DIVISIBLE, "64 attention heads can't be divided among 3 GPUs"),
        (
            {"pipeline": 65},
            Reason.TOO_FEW_LAYERS,
            "64 layers can't be split into 65 stages: choose another parallelism.pip",
        ),
    ],
)
def test_what_does_not_fit_says_why_with_the_numbers(changes: dict, reason: Reason, said: str):
    found = _with(QWEN, **changes)
    assert (found.verdict, found.reason) == (Verdict.DOES_NOT_FIT, reason)
    assert said in found.message


@pytest.mark.parametrize(
    ("config", "reason", "said"),
    [
        (
            {"architectures": ["NewForCausalLM"]},
            Reason.NOT_MODELLED,
            "the operator does not know how NewForCausalLM uses memory",
        ),
        ({}, Reason.NOT_MODELLED, "names no architecture"),
        (
            {**MODELS["llama"], "quantization_config": {"quant_method": "bitsandbytes"}},
            Reason.NOT_MODELLED,
            "bitsandbytes",
        ),
    ],
)
def test_what_is_not_known_is_unknown_and_never_a_guess(config: dict, reason: Reason, said: str):
    found = fit(Request(config, H100))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, reason)
    assert said in found.message
    assert found.ledger.weights is None
    assert found.ledger.total == H100.total


def test_weights_that_config_json_does_not_explain_are_unknown():
    found = _with(QWEN, stored_bytes=90 << 30)
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.WEIGHTS_UNEXPLAINED)
    assert "its files hold 90.0 GiB but config.json describes 61.0 GiB" in found.message
    assert _with(QWEN, parameters=70_000_000_000).reason is Reason.WEIGHTS_UNEXPLAINED
    assert _with(QWEN, parameters=32_762_123_264).verdict is Verdict.FITS


def test_the_files_of_a_multimodal_model_tell_its_encoder():
    config = CONFIGS["google/gemma-3-12b-it"]
    text = fit(Request(config, H100, stored_bytes=None)).ledger.weights
    more = fit(Request(config, H100, stored_bytes=text + (2 << 30))).ledger.weights
    assert more > text


def test_every_remedy_fits_and_the_cheapest_comes_first():
    for request in (QWEN, dataclasses.replace(QWEN, gpu=A10), dataclasses.replace(QWEN, tensor=3)):
        found = _with(request, max_context=40000)
        assert found.suggestions
        assert all(suggestion.fit.verdict is Verdict.FITS for suggestion in found.suggestions)
        same = [suggestion for suggestion in found.suggestions if "spec.accelerator.products" not in suggestion.change]
        gpus_needed = [suggestion.fit.gpus for suggestion in same]
        assert gpus_needed == sorted(gpus_needed)


def test_remedies_are_told_with_what_they_bring():
    texts = [suggestion.text for suggestion in _with(QWEN, max_context=40000).suggestions]
    assert "quantization.method fp8: fits, 3.6 concurrent requests of 40000 tokens" in texts
    assert any(text.startswith("model.maxContextLength 26") for text in texts)


def test_gpus_side_by_side_are_told_before_stages():
    fields = [next(iter(suggestion.change)) for suggestion in _with(QWEN, max_context=40000).suggestions]
    assert fields.index("spec.parallelism.tensor") < fields.index("spec.parallelism.pipeline")


def test_old_gpus_are_not_told_to_compute_in_fp8():
    a100 = dataclasses.replace(QWEN, gpu=gpus.find("A100"), max_context=40000)
    changes = {field for suggestion in fit(a100).suggestions for field in suggestion.change}
    assert not {"spec.quantization.method", "spec.quantization.kvCacheDtype"} & changes


def test_a_checkpoint_that_is_quantized_is_not_told_to_be_quantized():
    config = CONFIGS["RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic"]
    found = fit(Request(config, H100, utilization=0.9, max_context=16000))
    assert found.reason is Reason.NO_ROOM_FOR_CACHE
    assert "spec.quantization.method" not in {field for suggestion in found.suggestions for field in suggestion.change}
    assert found.suggestions[0].change == {"spec.parallelism.tensor": 2}


def test_each_version_of_vllm_has_its_own_account():
    caches = [
        _with(QWEN, vllm=version).ledger.cache for version in ((0, 11), (0, 19), (0, 21), (0, 27), (0, 32), (1, 0))
    ]
    assert caches[-1] == caches[-2]
    assert len(set(caches)) == 5
    assert _with(QWEN, vllm=(0, 20)).ledger.graphs == 0 < _with(QWEN, vllm=(0, 21)).ledger.graphs


def test_the_version_is_that_of_the_runtime_image():
    pinned = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]["runtime"]
    assert pinned == ["vllm=={}.{}.*".format(*VLLM)]


def test_without_graphs_nothing_is_compiled_or_recorded():
    short = dataclasses.replace(QWEN, max_batched_tokens=512, max_sequences=64)
    eager = _with(short, compiled=False).ledger
    assert eager.graphs == 0
    assert eager.activation < fit(short).ledger.activation


def test_gpus_share_an_encoder_where_its_heads_come_out_even():
    config = CONFIGS["google/gemma-3-12b-it"]
    bytes_there = 24_374_650_080
    others = [fit(Request(config, H100, tensor=n, stored_bytes=bytes_there)).ledger.parts["other"] for n in (1, 2)]
    uneven = {**config, "vision_config": {**config["vision_config"], "num_attention_heads": 15}}
    whole = fit(Request(uneven, H100, tensor=2, stored_bytes=bytes_there)).ledger.parts["other"]
    assert others[1] < others[0] == whole


def test_what_a_setting_takes_or_brings():
    base = fit(QWEN)
    assert _with(QWEN, cache_dtype="fp8").ledger.per_token * 2 == base.ledger.per_token
    assert _with(QWEN, max_sequences=256).ledger.cache > base.ledger.cache
    assert _with(QWEN, lora=Lora(4, 32)).ledger.weights > base.ledger.weights
    assert _with(QWEN, tensor=2).ledger.weights == pytest.approx(base.ledger.weights / 2, rel=0.001)
    halves = _with(QWEN, pipeline=2).ledger
    assert halves.per_token * 2 == base.ledger.per_token


def test_adapters_take_what_vllm_sets_aside():
    plain, adapted = (fit(Request(MODELS["llama"], H100, lora=lora)).ledger.weights for lora in (None, Lora(2, 16)))
    assert adapted - plain == pytest.approx(1_325_312, rel=0.002), "bytes that vLLM 0.32 allocates for this model"


def test_on_a_cpu_the_cache_is_what_was_set():
    found = fit(Request(MODELS["llama"], gpus.GPU("CPU", 0), cpu_cache=1 << 30))
    assert found.verdict is Verdict.FITS
    assert (found.blocks, found.block_tokens, found.block_bytes) == (8192, 128, 131072)
    small = fit(Request({**MODELS["llama"], "max_position_embeddings": 1 << 21}, gpus.GPU("CPU", 0), cpu_cache=1 << 30))
    assert small.reason is Reason.CACHE_TOO_SMALL
    assert [*small.suggestions[0].change] == ["spec.model.maxContextLength"]


@pytest.mark.parametrize(
    ("scaling", "context"),
    [
        ({"rope_type": "linear", "factor": 4.0}, 16384),
        ({"rope_type": "dynamic", "factor": 2}, 8192),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, 4096),
        ({"rope_type": "llama3", "factor": 8.0}, 4096),
        ({"rope_type": "linear", "factor": "4"}, 4096),
        (None, 4096),
    ],
)
def test_the_longest_context_is_the_one_that_vllm_derives(scaling: dict | None, context: int):
    assert fit(Request({**MODELS["llama"], "rope_scaling": scaling}, H100)).context == context


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-80GB-HBM3"),
        ("nvidia h100 80gb hbm3", "NVIDIA-H100-80GB-HBM3"),
        ("H100", "NVIDIA-H100-80GB-HBM3"),
        ("L40S", "NVIDIA-L40S"),
        ("Tesla-T4-SHARED", "Tesla-T4"),
        ("GeForce-RTX-4090", "NVIDIA-GeForce-RTX-4090"),
        ("NVIDIA-A100-SXM4-80GB-MIG-3g.40gb", "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb"),
        ("", None),
    ],
)
def test_gpus_are_found_by_their_label_and_usual_names(name: str, gpu: str | None):
    found = gpus.find(name)
    assert (found.name if found else None) == gpu


def test_a_node_s_label_counts_where_it_says_something_else_than_the_table():
    assert gpus.of_label("NVIDIA-H100-80GB-HBM3", 81559).total == H100.total
    slice_of_it = gpus.of_label("NVIDIA-H100-80GB-HBM3", 40448)
    assert 0.96 * 40448 < slice_of_it.total / (1 << 20) < 40448
    assert gpus.of_label("NVIDIA-Unheard-Of", 10240).capability is None


def test_the_engines_of_a_replica_have_a_dense_model_each():
    one, four = _with(QWEN), _with(QWEN, data=4)
    assert (four.verdict, four.gpus, four.ledger) == (Verdict.FITS, 4 * one.gpus, one.ledger)
    assert four.concurrency == pytest.approx(4 * one.concurrency, abs=0.1)
    assert (four.blocks, four.longest) == (one.blocks, one.longest)


MIXTURE = Request(CONFIGS["Qwen/Qwen3-30B-A3B"], H100)


def test_engines_share_the_experts_and_nothing_else():
    one, four = _with(MIXTURE), _with(MIXTURE, data=4)
    experts = one.ledger.parts[Part.EXPERTS]
    assert 0.25 * experts <= four.ledger.parts[Part.EXPERTS] < 0.26 * experts
    assert {**one.ledger.parts, Part.EXPERTS: 0} == {**four.ledger.parts, Part.EXPERTS: 0}


def test_a_mixture_that_seems_to_fit_several_engines_is_unknown_and_one_that_is_too_large_does_not_fit():
    found = _with(MIXTURE, data=2)
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.NOT_MODELLED)
    assert "parallelism.data is 2" in found.message
    small = _with(MIXTURE, data=2, gpu=A10)
    assert (small.verdict, small.reason) == (Verdict.DOES_NOT_FIT, Reason.NO_ROOM_FOR_CACHE)


def test_experts_that_the_engines_can_not_share_name_the_field():
    found = _with(MIXTURE, data=5)
    assert (found.verdict, found.reason) == (Verdict.DOES_NOT_FIT, Reason.HEADS_NOT_DIVISIBLE)
    assert "768 rows of an expert" in found.message and "choose another parallelism.data" in found.message


XLM_ROBERTA = {
    "architectures": ["XLMRobertaModel"],
    "model_type": "xlm-roberta",
    "torch_dtype": "float32",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "max_position_embeddings": 8194,
    "type_vocab_size": 1,
    "vocab_size": 250002,
    "position_embedding_type": "absolute",
}
"""The dimensions of BAAI/bge-m3, which is published with 568 million parameters."""


def test_an_encoder_has_no_kv_cache_and_uses_what_it_needs():
    found = fit(Request(XLM_ROBERTA, H100, utilization=0.9, parameters=567_754_752))
    ledger = found.ledger
    assert (found.verdict, found.longest, found.concurrency) == (Verdict.FITS, 8194, None)
    assert (ledger.cache, ledger.per_token) == (0, 0)
    assert ledger.weights == pytest.approx(2 * 567_754_752, rel=0.01)
    assert ledger.requested == ledger.weights + ledger.activation + ledger.graphs + ledger.outside < 0.05 * ledger.total
    assert "there is no KV cache" in found.message


def test_an_encoder_that_is_larger_than_the_gpu_does_not_fit():
    slice_ = gpus.GPU("slice", 2 << 30)
    found = fit(Request(XLM_ROBERTA, slice_, utilization=0.8))
    assert (found.verdict, found.reason) == (Verdict.DOES_NOT_FIT, Reason.NO_ROOM_FOR_CACHE)
    assert found.ledger.cache < 0
    assert "an empty GPU of 2.0 GiB" in found.message
    assert found.suggestions and found.suggestions[0].fit.verdict is Verdict.FITS


def test_an_encoder_with_relative_positions_is_unknown():
    found = fit(Request({**XLM_ROBERTA, "position_embedding_type": "rotary"}, H100))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.NOT_MODELLED)
    assert "rotary" in found.message


def test_a_classifier_has_its_head_in_32_bits():
    classifier = {**XLM_ROBERTA, "architectures": ["XLMRobertaForSequenceClassification"]}
    more = fit(Request(classifier, H100)).ledger.weights - fit(Request(XLM_ROBERTA, H100)).ledger.weights
    assert more == pytest.approx(4 * 1024 * 1025, rel=0.01)
