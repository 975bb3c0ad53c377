"""The environment is read completely or refused as a whole, in words."""

from __future__ import annotations

from typing import Any

import pytest

from builders.engine_values import ELSEWHERE, EVERY
from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AttentionBackend, QuantizationMethod, SpeculativeMethod
from llmservice_contract.engine_settings import SETTINGS
from llmservice_contract.setting import Decimal, Setting, Whole
from llmservice_contract.source import Directory, ObjectPrefix, Repository
from llmservice_runtime.launcher.settings import Speculation, WrongSettings, read_settings

MODEL = {"MODEL_NAME": "/models/tiny"}


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(WrongSettings) as caught:
        read_settings(MODEL | environ)
    return caught.value.problems


def test_a_model_alone_is_enough() -> None:
    settings = read_settings(MODEL)
    assert (settings.source, settings.draft, settings.speculation, settings.media_domains) == (
        Directory("/models/tiny"),
        None,
        None,
        (),
    )
    assert {row.name: settings.values.get(row) for row in SETTINGS if row.default is not None} == {
        row.name: row.default for row in SETTINGS if row.default is not None
    }


def test_an_empty_value_counts_as_absent() -> None:
    assert read_settings({**MODEL, "PARALLELISM_TENSOR": "", "MODEL_REVISION": " "}) == read_settings(MODEL)


def test_every_value_arrives() -> None:
    assert EVERY.keys() | ELSEWHERE.keys() == {row.name for row in SETTINGS}
    settings = read_settings({name: text for name, (text, _) in EVERY.items()})
    given = {row.name: settings.values.get(row) for row in SETTINGS if row.name in EVERY}
    assert given == {name: value for name, (_, value) in EVERY.items()}
    assert settings.source == Repository("Qwen/Qwen3-8B")
    assert settings.speculation == Speculation(SpeculativeMethod.DRAFT, 3, Repository("Qwen/Qwen3-0.6B"), "v1")
    assert settings.media_domains == ("a.example", "b.example", "c.example")


ALIASES = [(alias, row) for row in SETTINGS for alias in row.aliases]


@pytest.mark.parametrize(("alias", "row"), ALIASES, ids=[alias for alias, _ in ALIASES])
def test_each_variable_is_read_by_its_other_names_too(alias: str, row: Setting[Any]) -> None:
    environ = {name: text for name, (text, _) in EVERY.items()}
    text = environ.pop(row.name)
    settings = read_settings({**environ, alias: text})
    assert settings.values.get(row) == EVERY[row.name][1]
    assert settings.values.shown(row) == f"{alias}={text}", "messages have the name that the person used"


SEED_NAMES = {
    "MODEL_NAME": "Qwen/Qwen3-8B",
    "TENSOR_PARALLEL_SIZE": "4",
    "MAX_BATCH_SIZE": "64",
    "QUANTIZATION_MODE": "fp8",
    "GPU_MEMORY_UTILIZATION": "0.9",
    "ENABLE_FLASH_ATTENTION": "false",
    "BATCH_TIMEOUT_MS": "20",
}


def test_an_image_that_is_run_by_hand_takes_the_names_of_the_first_version() -> None:
    settings = read_settings(SEED_NAMES)
    values = settings.values
    assert settings.source == Repository("Qwen/Qwen3-8B")
    assert (values[rows.TENSOR_PARALLEL], values.get(rows.MAX_NUM_SEQS), values[rows.BATCH_TIMEOUT]) == (4, 64, 20)
    assert values[rows.QUANTIZATION] is QuantizationMethod.FP8
    assert values.get(rows.GPU_MEMORY_UTILIZATION) == 0.9
    assert values[rows.ATTENTION] is AttentionBackend.TRITON


def test_two_names_of_one_setting_agree_or_are_refused() -> None:
    assert (
        read_settings({**MODEL, "MAX_BATCH_SIZE": "8", "ENGINE_MAX_NUM_SEQS": "8"}).values.get(rows.MAX_NUM_SEQS) == 8
    )
    (problem,) = problems(MAX_BATCH_SIZE="8", ENGINE_MAX_NUM_SEQS="9")
    assert "ENGINE_MAX_NUM_SEQS=9 contradicts MAX_BATCH_SIZE=8" in problem and "take MAX_BATCH_SIZE out" in problem


def test_environments_of_two_versions_are_compared_by_what_they_say() -> None:
    before = {"MODEL_NAME": "org/m", "BATCH_TIMEOUT_MS": "20", "MAX_BATCH_SIZE": "8", "HOME": "/cache", "PORT": "x"}
    after = {
        "MODEL_SOURCE": "org/m",
        "ENGINE_BATCH_TIMEOUT": "20ms",
        "ENGINE_MAX_NUM_SEQS": "8",
        "HOME": "/cache",
        "PORT": "x",
    }
    assert rows.with_current_names(before) == rows.with_current_names(after) == after
    both = {"MODEL_SOURCE": "org/new", "MODEL_NAME": "org/old"}
    assert (
        rows.with_current_names(both)
        == rows.with_current_names(dict(reversed(both.items())))
        == {"MODEL_SOURCE": "org/new"}
    )


def test_no_name_stands_for_two_settings() -> None:
    names = [name for row in SETTINGS for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names)) == len(rows.BY_VARIABLE)


def test_all_problems_are_told_at_once() -> None:
    found = problems(PARALLELISM_TENSOR="zero", ACCELERATOR="tpu", GPU_MEMORY_UTILIZATION="1.5", MODEL_NAME="ftp://x/y")
    assert [text.split("=")[0] for text in found] == [
        "PARALLELISM_TENSOR",
        "ACCELERATOR",
        "GPU_MEMORY_UTILIZATION",
        "MODEL_NAME",
    ]


def test_a_problem_names_variable_value_and_what_is_allowed() -> None:
    assert problems(QUANTIZATION_MODE="int3") == (
        "QUANTIZATION_MODE='int3' is not allowed: it must be one of auto, none, fp8, int8, int4, awq, gptq.",
    )
    assert problems(MAX_BATCH_SIZE="70000") == (
        "MAX_BATCH_SIZE='70000' is not allowed: it must be a whole number from 1 to 65536 sequences.",
    )


def test_without_a_model_it_says_which_forms_there_are() -> None:
    with pytest.raises(WrongSettings, match=r"MODEL_SOURCE is not set.*hf://org/name"):
        read_settings({})


NUMBERS = [row for row in SETTINGS if isinstance(row, Whole | Decimal)]


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.name)
def test_bounds_hold_on_both_sides(row: Whole | Decimal) -> None:
    step = 1 if isinstance(row, Whole) else 0.0001
    for good in (row.minimum, row.maximum):
        assert row.parse(f"{good:.10g}") == good
    for bad in (f"{row.minimum - step:.10g}", f"{row.maximum + step:.10g}", "1e3", "0x10", "nan", "1 2", "１"):
        with pytest.raises(ValueError, match=f"{row.name}=.* is not allowed"):
            row.parse(bad)


@pytest.mark.parametrize("text", ["60001ms", "61s", "1m", "ms", "-1ms", "1.5s", "100000", "20 ms"])
def test_a_time_is_whole_milliseconds_or_seconds_within_its_bound(text: str) -> None:
    with pytest.raises(ValueError, match=r"ENGINE_BATCH_TIMEOUT=.* is not allowed"):
        rows.BATCH_TIMEOUT.parse(text)


@pytest.mark.parametrize("row", [row for row in SETTINGS if row.name in EVERY], ids=lambda row: row.name)
def test_what_is_written_is_read_back(row: Setting[Any]) -> None:
    value = EVERY[row.name][1]
    assert row.parse(row.text(value)) == value


@pytest.mark.parametrize("text", ["yes", "1", "on", "truefalse"])
def test_a_boolean_is_true_or_false(text: str) -> None:
    assert "true or false" in problems(ENABLE_PREFIX_CACHING=text)[0]


@pytest.mark.parametrize(
    "endpoint", ["jaeger:4317", "grpc://jaeger:4317", "http://me:secret@jaeger:4317", "http://", "http://jaeger/?a=1"]
)
def test_what_is_no_address_for_traces_is_refused(endpoint: str) -> None:
    assert problems(OTLP_TRACES_ENDPOINT=endpoint)[0].startswith("OTLP_TRACES_ENDPOINT=")


@pytest.mark.parametrize("address", ["-x", "a b", "http://a", "a/b", ".a"])
def test_the_address_of_rank_0_cannot_become_a_flag(address: str) -> None:
    assert problems(MASTER_ADDRESS=address)[0].startswith("MASTER_ADDRESS=")


@pytest.mark.parametrize("name", ["API_KEYS", "ACCESS_POLICY", "STORE_CREDENTIALS"])
def test_files_of_the_front_have_absolute_paths(name: str) -> None:
    assert problems(**{name: "keys"})[0].startswith(f"{name}='keys' is not allowed")


@pytest.mark.parametrize("name", ["--trust-remote-code", "a b", "two,,commas", "x" * 129, "tab\tbed"])
def test_a_served_name_cannot_become_a_flag(name: str) -> None:
    assert problems(SERVED_MODEL_NAMES=name)[0].startswith("SERVED_MODEL_NAMES=")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("/models/tiny", Directory("/models/tiny")),
        ("Qwen/Qwen3-8B", Repository("Qwen/Qwen3-8B")),
        ("hf://Qwen/Qwen3-8B", Repository("Qwen/Qwen3-8B")),
        ("https://hub.example/Qwen/Qwen3-8B", Repository("Qwen/Qwen3-8B", "https://hub.example")),
        (
            "https://hub.example:8443/mirror/Qwen/Qwen3-8B/",
            Repository("Qwen/Qwen3-8B", "https://hub.example:8443/mirror"),
        ),
        ("s3://bucket/models/tiny/", ObjectPrefix("s3://bucket/models/tiny")),
    ],
)
def test_sources(text: str, source: object) -> None:
    assert read_settings({"MODEL_NAME": text}).source == source


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("tiny", "absolute path"),
        ("hf://tiny", "hf://ORG/NAME"),
        ("gs://bucket/x", "gs:// is unknown"),
        ("s3://bucket", "s3://BUCKET/PATH"),
        ("https://hub.example/model.safetensors", "can't load a single file"),
        ("https://hub.example/a/b?download=1", "can't load a single file"),
        ("https://me:secret@hub.example/a/b", "HF_TOKEN"),
        ("http://hub.example/a/b", "http:// is unknown"),
    ],
)
def test_what_is_no_source_is_refused_with_what_is_one(text: str, hint: str) -> None:
    assert hint in problems(MODEL_NAME=text)[0]


@pytest.mark.parametrize(
    ("environ", "kernels"),
    [
        ({"ENABLE_FLASH_ATTENTION": "false"}, AttentionBackend.TRITON),
        ({"ENABLE_FLASH_ATTENTION": "true"}, AttentionBackend.AUTO),
        ({"ENABLE_FLASH_ATTENTION": "false", "ENGINE_ATTENTION": "auto"}, AttentionBackend.TRITON),
        ({"ENABLE_FLASH_ATTENTION": "false", "ENGINE_ATTENTION": "flashinfer"}, AttentionBackend.FLASHINFER),
    ],
)
def test_flash_attention_off_means_triton(environ: dict[str, str], kernels: AttentionBackend) -> None:
    assert read_settings({**MODEL, **environ}).values[rows.ATTENTION] is kernels


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"MODEL_REVISION": "main"}, "no revisions"),
        ({"ENABLE_FLASH_ATTENTION": "false", "ATTENTION_BACKEND": "flash"}, "contradicts"),
        ({"ENABLE_FLASH_ATTENTION": "true", "ATTENTION_BACKEND": "triton"}, "contradicts"),
        ({"CPU_KV_CACHE_GIB": "2"}, "set ENGINE_GPU_MEMORY_UTILIZATION"),
        ({"ACCELERATOR": "cpu", "GPU_MEMORY_UTILIZATION": "0.9"}, "set CPU_KV_CACHE_GIB"),
        ({"ACCELERATOR": "cpu", "PIPELINE_PARALLEL_SIZE": "2"}, "fails at the first request"),
        ({"ACCELERATOR": "cpu", "ATTENTION_BACKEND": "triton"}, "one attention kernel"),
        ({"ACCELERATOR": "cpu", "ENABLE_FLASH_ATTENTION": "false"}, "one attention kernel"),
        ({"NUM_SPECULATIVE_TOKENS": "3"}, "without ENGINE_SPECULATIVE_METHOD"),
        ({"SPECULATIVE_MODEL": "/models/draft"}, "without ENGINE_SPECULATIVE_METHOD"),
        ({"ENGINE_SPECULATIVE_REVISION": "v1"}, "without ENGINE_SPECULATIVE_METHOD"),
        (
            {"SPECULATIVE_METHOD": "draft", "SPECULATIVE_MODEL": "/models/a", "ENGINE_SPECULATIVE_REVISION": "v1"},
            "take it out",
        ),
        ({"SPECULATIVE_METHOD": "draft"}, "needs ENGINE_SPECULATIVE_MODEL"),
        ({"SPECULATIVE_METHOD": "ngram", "ACCELERATOR": "cpu"}, "answers wrongly on a CPU"),
        ({"SPECULATIVE_METHOD": "ngram", "SPECULATIVE_MODEL": "/models/draft"}, "needs no model"),
        ({"SPECULATIVE_METHOD": "ngram", "PIPELINE_PARALLEL_SIZE": "2"}, "PIPELINE_PARALLEL_SIZE=2 must be 1"),
        ({"SPECULATIVE_METHOD": "draft", "SPECULATIVE_MODEL": "Qwen/Qwen3-0.6B"}, "both have to be directories"),
        ({"SPECULATIVE_METHOD": "draft", "SPECULATIVE_MODEL": "draft"}, "SPECULATIVE_MODEL='draft' is not allowed"),
        (
            {"ENABLE_CHUNKED_PREFILL": "false", "MAX_NUM_BATCHED_TOKENS": "512", "MAX_CONTEXT_LENGTH": "1024"},
            "must not be below MAX_CONTEXT_LENGTH=1024",
        ),
        ({"MAX_NUM_BATCHED_TOKENS": "32", "MAX_BATCH_SIZE": "64"}, "must not be below MAX_BATCH_SIZE=64"),
        ({"TRACE_SAMPLING": "0.1"}, "without TRACING_ENDPOINT"),
        ({"NODE_RANK": "1"}, "NODE_RANK=1 is not allowed: it must be below PARALLELISM_NODES_PER_REPLICA=1"),
        ({"NODES_PER_REPLICA": "2", "TENSOR_PARALLEL_SIZE": "2"}, "needs MASTER_ADDRESS"),
        ({"NODES_PER_REPLICA": "2", "MASTER_ADDRESS": "a"}, "an equal part of the 1 devices"),
        (
            {"NODES_PER_REPLICA": "2", "MASTER_ADDRESS": "a", "TENSOR_PARALLEL_SIZE": "2", "ADAPTERS": "/a/list.json"},
            "ADAPTERS is not allowed with NODES_PER_REPLICA=2",
        ),
        (
            {
                "NODES_PER_REPLICA": "4",
                "MASTER_ADDRESS": "a",
                "TENSOR_PARALLEL_SIZE": "2",
                "PIPELINE_PARALLEL_SIZE": "3",
            },
            "an equal part of the 6 devices",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(environ: dict[str, str], word: str) -> None:
    (problem,) = problems(**environ)
    assert word in problem
