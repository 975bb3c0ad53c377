"""Which checkpoints go with which QUANTIZATION_METHOD."""

from __future__ import annotations

from typing import Any

import pytest

from llmservice_contract.quantization import storage
from llmservice_runtime.model.checkpoint import WrongCheckpoint, check_engines_on_cpu, check_on_cpu, quantization_flag


def compressed(bits: int, kind: str = "int") -> dict[str, Any]:
    groups = {"group_0": {"weights": {"num_bits": bits, "type": kind}, "targets": ["Linear"]}}
    return {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": groups}}


def method(name: str) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": name}}


PLAIN: dict[str, Any] = {"model_type": "llama"}
CHECKPOINTS = {
    "plain": PLAIN,
    "fp8": method("fp8"),
    "compressed fp8": compressed(8, "float"),
    "compressed int8": compressed(8),
    "compressed int4": compressed(4),
    "awq": method("awq"),
    "gptq": method("gptq"),
    "modelopt": method("modelopt_fp4"),
}
ACCEPTED = {
    "auto": set(CHECKPOINTS),
    "none": {"plain"},
    "fp8": {"plain", "fp8", "compressed fp8"},
    "int8": {"compressed int8"},
    "int4": {"compressed int4"},
    "awq": {"awq"},
    "gptq": {"gptq"},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("mode", ACCEPTED)
def test_a_mode_takes_its_checkpoints_and_no_other(mode: str, name: str) -> None:
    stored = storage(CHECKPOINTS[name])
    if name in ACCEPTED[mode]:
        assert quantization_flag(mode, stored) == ("fp8" if (mode, name) == ("fp8", "plain") else None)
    else:
        with pytest.raises(WrongCheckpoint, match=f"QUANTIZATION_METHOD={mode} needs "):
            quantization_flag(mode, stored)


def test_the_refusal_says_what_it_is_and_how_to_get_one() -> None:
    with pytest.raises(WrongCheckpoint) as caught:
        quantization_flag("int4", storage(PLAIN))
    assert str(caught.value) == (
        "QUANTIZATION_METHOD=int4 needs a compressed-tensors checkpoint of 4-bit integers, but the model's config.json "
        "says that it is not quantized: make one with llm-compressor (scheme W4A16), or choose a model that has one."
    )


def test_the_text_part_of_a_multimodal_model_counts() -> None:
    assert str(storage({"text_config": compressed(4)})) == "compressed-tensors (int4)"


def test_older_checkpoints_call_it_compression_config() -> None:
    config = {"compression_config": compressed(8)["quantization_config"]}
    assert storage(config).formats == ("int8",)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_four_bits_need_avx512_on_a_cpu(name: str) -> None:
    stored = storage(CHECKPOINTS[name])
    check_on_cpu(stored, None, avx512=True)
    if name in ("awq", "gptq", "compressed int4"):
        with pytest.raises(WrongCheckpoint, match="only with AVX-512, and this node's processor has none"):
            check_on_cpu(stored, None, avx512=False)
    else:
        check_on_cpu(stored, None, avx512=False)


def test_no_cpu_quantizes_while_loading() -> None:
    with pytest.raises(WrongCheckpoint, match="QUANTIZATION_METHOD=fp8 of a 16-bit checkpoint is not allowed"):
        check_on_cpu(storage(PLAIN), quantization_flag("fp8", storage(PLAIN)), avx512=True)


@pytest.mark.parametrize(
    "config", [{"num_local_experts": 8}, {"text_config": {"n_routed_experts": 64}}, {"num_experts": 4}]
)
def test_a_mixture_of_experts_has_one_engine_on_a_cpu(config: dict[str, object]) -> None:
    check_engines_on_cpu(config, 1)
    with pytest.raises(WrongCheckpoint, match="PARALLELISM_DATA=2 is not allowed") as caught:
        check_engines_on_cpu(config, 2)
    assert caught.value.field == "spec.parallelism.data"


def test_a_dense_model_has_several_engines_on_a_cpu() -> None:
    check_engines_on_cpu({"num_local_experts": 0, "hidden_size": 64, "text_config": None}, 2)
