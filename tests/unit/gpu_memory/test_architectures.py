"""What config.json describes, held against the published sizes of well-known models, and against odd files."""

import pytest

from llmservice_operator.gpu_memory.architectures import BUILDERS, build
from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.model import Cut, Indivisible, stages
from llmservice_operator.gpu_memory.weight_mismatch import matrices
from support.published import measurements
from support.small_models import MODELS

CONFIGS = {each.row["model"]: each.config for each in measurements()}
PARAMETERS = {
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 46_702_792_704,
    "google/gemma-2-27b-it": 27_227_128_320,
    "openai/gpt-oss-20b": 20_914_757_184,
    "openai/gpt-oss-120b": 116_829_156_672,
}
"""As the model cards say; a tied head counts once."""
MOST_GPUS = {"nemotron-h": 2, "qwen3-next": 4, "qwen3.5": 4}
"""That can share a model whose recurrent layers have few groups or heads."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_number_of_parameters_is_the_published_one(name: str):
    model = build(Config(CONFIGS[name]), Cut(1))
    assert sum(matrix.elements for matrix in matrices(model)) == pytest.approx(PARAMETERS[name], rel=0.0005)


@pytest.mark.parametrize(("name", "tensor"), [(name, tensor) for name in MODELS for tensor in (2, 4, 8)])
def test_gpus_share_a_model_without_losing_any_of_it(name: str, tensor: int):
    config = Config(MODELS[name])
    whole = sum(matrix.elements for matrix in matrices(build(config, Cut(1))))
    if tensor > MOST_GPUS.get(name, 8):
        with pytest.raises(Indivisible):
            build(config, Cut(tensor))
        return
    assert whole / tensor <= sum(matrix.elements for matrix in matrices(build(config, Cut(tensor)))) < whole


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({}, [131072 * 128]),
        ({"rope_scaling": {"rope_type": "linear", "factor": 4.0}}, [4 * 131072 * 128]),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}}, [32768 * 128]),
        (
            {"rope_scaling": {"rope_type": "longrope", "original_max_position_embeddings": 4096}},
            [(131072 + 4096) * 128],
        ),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}, [4 * 131072 * 128]),
        ({"partial_rotary_factor": 0.5}, [131072 * 64]),
        ({"rotary_dim": 32}, [131072 * 32]),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8}, "sliding_attention": {}}},
            [8 * 131072 * 128, 131072 * 128],
        ),
    ],
)
def test_tables_of_positions_are_as_long_as_config_json_says(changes: dict, numbers: list[int]):
    model = build(Config({**CONFIGS["meta-llama/Llama-3.1-8B-Instruct"], **changes}), Cut(1))
    assert [table.elements for table in model.tables] == numbers


def test_models_with_learned_positions_or_none_have_no_tables():
    assert [name for name in MODELS if not build(Config(MODELS[name]), Cut(1)).tables] == [
        *("opt", "gpt2", "bert", "xlm-roberta", "bert-reranker", "xlm-roberta-reranker"),
        *("granite-hybrid", "nemotron-h", "mamba2"),
    ]


def test_what_is_left_over_goes_to_the_stages_before_the_last():
    assert [len(stage) for stage in stages(61, 4)] == [15, 15, 16, 15]
    assert [len(stage) for stage in stages(30, 4)] == [7, 8, 8, 7]
    assert [len(stage) for stage in stages(32, 1)] == [32]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architectures": ["MadeUpForCausalLM"]}, "the operator does not know how MadeUpForCausalLM uses memory"),
        ({"architectures": []}, "names no architecture"),
        ({"architectures": "LlamaForCausalLM"}, "names no architecture"),
        ({"hidden_size": None}, "has no hidden_size"),
        ({"hidden_size": "4096"}, "hidden_size: '4096', which is not a size"),
        ({"num_hidden_layers": -1}, "num_hidden_layers: -1, which is not a size"),
        ({"num_hidden_layers": 10_000}, "10000 layers"),
        ({"vocab_size": 1 << 40}, "which is not a size"),
        ({"layer_types": ["full_attention"]}, "layer_types of 1 layers and 4 layers"),
    ],
)
def test_what_makes_no_sense_is_not_modelled_and_says_why(change: dict, said: str):
    with pytest.raises(NotModelled, match=said.replace("(", r"\(")):
        build(Config({**MODELS["llama"], **change}), Cut(1))


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("llama", 3, "8 attention heads can't be divided among 3 GPUs"),
        ("llama", 16, "8 attention heads can't be divided among 16 GPUs"),
        ("qwen3-next", 8, "4 key heads of a delta net can't be divided among 8 GPUs"),
    ],
)
def test_what_can_t_be_cut_says_which_number(name: str, tensor: int, said: str):
    with pytest.raises(Indivisible, match=said):
        build(Config(MODELS[name]), Cut(tensor))


def test_each_small_model_is_of_a_known_architecture_and_most_architectures_have_one():
    names = {config["architectures"][0] for config in MODELS.values()}
    assert names <= set(BUILDERS)
    assert len(names) >= 30
