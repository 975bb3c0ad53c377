"""In how many bytes a parameter lies, by the checkpoint's own configuration."""

import pytest

from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Indivisible
from llmservice_operator.gpu_memory.storage import storage

UP = Matrix("model.layers.0.mlp.gate_proj", Part.MLP, 2048, 1024, merged=2, linear=True)
DOWN = Matrix("model.layers.0.mlp.down_proj", Part.MLP, 1024, 1024, across=True, linear=True)
HEAD = Matrix("lm_head", Part.HEAD, 32000, 1024)
NORM = Matrix("model.layers.0.norms", Part.NORM, 2048)
EXPERTS = Matrix("model.layers.0.mlp.experts.0.gate_proj", Part.EXPERTS, 5760, 2880, 8, merged=2, linear=True)
N = UP.elements


def _stored(quantization: dict | None, method: str = "auto"):
    return storage(Config({"quantization_config": quantization} if quantization else {}), method)


def _group(weights: dict, targets=("Linear",), **more) -> dict:
    groups = {"group_0": {"targets": list(targets), "weights": weights}}
    return {"quant_method": "compressed-tensors", "config_groups": groups, **more}


@pytest.mark.parametrize(
    ("quantization", "bytes_of_up"),
    [
        (None, 2 * N),
        ({"quant_method": "fp8"}, N + 4),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, N + 16 * 8 * 4),
        ({"quant_method": "fbgemm_fp8"}, N + 2048 * 4),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, N // 2 + 2048 * 8 * 2.5),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, N + 2048 * 3),
        (_group({"num_bits": 8, "type": "int", "strategy": "channel"}), N + 2048 * 4),
        (_group({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}), N // 2 + 2048 * 32 * 2),
        (
            _group(
                {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
                format="nvfp4-pack-quantized",
            ),
            N // 2 + N // 16,
        ),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, N // 2 + N // 16),
    ],
)
def test_numbers_and_their_scales(quantization: dict | None, bytes_of_up: float):
    assert _stored(quantization).bytes(UP) == bytes_of_up


def test_what_is_no_linear_layer_stays_in_sixteen_bits():
    stored = _stored({"quant_method": "fp8"})
    assert stored.bytes(NORM) == 2 * NORM.elements
    assert stored.bytes(HEAD) == 2 * HEAD.elements
    assert _stored({"quant_method": "gptq", "bits": 4, "lm_head": True}).bytes(HEAD) < HEAD.elements


@pytest.mark.parametrize(
    "pattern",
    [
        "model.layers.0.mlp.down_proj",
        "down_proj",
        "model.layers.0",
        "re:.*down_proj",
        "model.layers.*.mlp.down_proj",
        "model.language_model.layers.0.mlp.down_proj",
        "language_model.model.layers.0.mlp.down_proj",
    ],
)
def test_ignored_modules_stay_in_sixteen_bits(pattern: str):
    quantization = _group({"num_bits": 8, "type": "int", "strategy": "channel"}, ignore=[pattern])
    assert _stored(quantization).bytes(DOWN) == 2 * DOWN.elements


def test_a_pattern_that_is_not_supported_is_said():
    quantization = _group({"num_bits": 8, "type": "int", "strategy": "channel"}, ignore=["re:*[", "lm_head"])
    with pytest.raises(NotModelled, match=r"\*\["):
        _stored(quantization)


def test_groups_store_their_own_targets():
    eight, four = {"num_bits": 8, "strategy": "channel"}, {"num_bits": 4, "strategy": "group", "group_size": 128}
    groups = {"a": {"targets": ["re:.*down_proj"], "weights": eight}, "b": {"targets": ["Linear"], "weights": four}}
    stored = _stored({"quant_method": "compressed-tensors", "config_groups": groups})
    assert stored.bytes(DOWN) == DOWN.elements + 1024 * 4
    assert stored.bytes(UP) < 0.6 * UP.elements


def test_gptq_says_by_pattern_which_layers_differ():
    dynamic = {"-:.*down_proj": {}, "+:.*gate_proj": {"bits": 8}}
    stored = _stored({"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": dynamic})
    assert stored.bytes(DOWN) == 2 * DOWN.elements
    assert stored.bytes(UP) > UP.elements


def test_fp8_of_a_sixteen_bit_checkpoint_is_made_while_loading():
    assert _stored(None, "fp8").bytes(UP) == N + 4
    assert _stored({"quant_method": "fp8"}, "fp8").bytes(UP) == N + 4


def test_mxfp4_fills_experts_up_and_leaves_the_rest():
    stored = _stored({"quant_method": "mxfp4"})
    padded, scales = 8 * 2 * 3072 * 2880 // 2, 8 * 5760 * 90
    assert stored.bytes(EXPERTS) == padded + scales
    assert stored.stored_bytes(EXPERTS) == EXPERTS.elements // 2 + scales
    assert stored.bytes(UP) == 2 * UP.elements


def test_a_matrix_that_is_kept_unpacked_counts_twice_where_it_is_quantized():
    matrix = Matrix("model.layers.0.self_attn.kv_b_proj", Part.ATTENTION, 512, 512, linear=True, unpacked=True)
    assert _stored({"quant_method": "fp8"}).bytes(matrix) == 3 * matrix.elements + 4
    assert _stored(None).bytes(matrix) == 2 * matrix.elements


@pytest.mark.parametrize("name", ["bitsandbytes", "gguf", "made-up", ""])
def test_a_method_that_is_not_known_is_said(name: str):
    with pytest.raises(NotModelled, match=name or "unnamed"):
        _stored({"quant_method": name})


def test_blocks_and_groups_must_be_whole_on_each_gpu():
    stored = _stored({"quant_method": "fp8", "weight_block_size": [128, 128]})
    with pytest.raises(Indivisible, match="rows in blocks of 128"):
        stored.check(Matrix("experts.0.gate_proj", Part.EXPERTS, 384, 1024, 8, merged=2, linear=True), 8)
    awq = _stored({"quant_method": "awq", "bits": 4, "group_size": 128})
    with pytest.raises(Indivisible, match="groups of 128"):
        awq.check(Matrix("down_proj", Part.MLP, 1024, 2368, across=True, linear=True), 8)
    awq.check(Matrix("down_proj", Part.MLP, 1024, 2368, across=True, linear=True), 1)


def test_the_cache_is_in_eight_bits_where_the_checkpoint_says_so():
    weights = {"num_bits": 8, "type": "float", "strategy": "channel"}
    assert _stored(_group(weights, kv_cache_scheme={"num_bits": 8})).cache_bits == 8
    assert _stored(_group(weights)).cache_bits is None
