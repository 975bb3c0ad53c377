"""The environment is read completely or refused as a whole, in words."""

from __future__ import annotations

import pytest

from llmservice_contract.environment import VARIABLES
from llmservice_contract.source import Directory, ObjectPrefix, Repository
from llmservice_contract.variable import Kind
from llmservice_runtime.settings import Settings, Speculation, WrongSettings, read_settings

MODEL = {"MODEL_NAME": "/models/tiny"}


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(WrongSettings) as caught:
        read_settings(MODEL | environ)
    return caught.value.problems


def test_a_model_alone_is_enough() -> None:
    assert read_settings(MODEL) == Settings(source=Directory("/models/tiny"))


def test_an_empty_value_counts_as_absent() -> None:
    assert read_settings({**MODEL, "TENSOR_PARALLEL_SIZE": "", "MODEL_REVISION": " "}) == read_settings(MODEL)


def test_every_value_arrives() -> None:
    settings = read_settings(
        {
            "MODEL_NAME": "hf://Qwen/Qwen3-8B",
            "MODEL_REVISION": "0e9e39f2",
            "SERVED_MODEL_NAMES": "qwen, qwen3-8b",
            "MAX_CONTEXT_LENGTH": "8192",
            "QUANTIZATION_MODE": "fp8",
            "KV_CACHE_DTYPE": "fp8",
            "TENSOR_PARALLEL_SIZE": "4",
            "PIPELINE_PARALLEL_SIZE": "1",
            "NODES_PER_REPLICA": "2",
            "NODE_RANK": "1",
            "MASTER_ADDRESS": "qwen-0-0.qwen.team-a.svc",
            "ACCELERATOR": "amd",
            "GPU_MEMORY_UTILIZATION": "0.85",
            "MAX_BATCH_SIZE": "128",
            "MAX_NUM_BATCHED_TOKENS": "4096",
            "ENABLE_PREFIX_CACHING": "False",
            "ENABLE_CHUNKED_PREFILL": "true",
            "SPECULATIVE_METHOD": "draft",
            "SPECULATIVE_MODEL": "Qwen/Qwen3-0.6B",
            "NUM_SPECULATIVE_TOKENS": "3",
            "ATTENTION_BACKEND": "flash",
            "BATCH_TIMEOUT_MS": "20",
            "STARTUP_BUDGET_SECONDS": "900",
            "PORT": "9000",
            "API_KEYS": "/keys",
            "ACCESS_POLICY": "/access/access.json",
            "STORE_CREDENTIALS": "/store",
            "LOG_FORMAT": "json",
            "LAME_DUCK_SECONDS": "0",
            "DRAIN_SECONDS": "120",
            "OTLP_TRACES_ENDPOINT": "http://jaeger:4317",
            "TRACE_SAMPLING": "0.25",
        }
    )
    assert settings == Settings(
        source=Repository("Qwen/Qwen3-8B"),
        revision="0e9e39f2",
        served_names=("qwen", "qwen3-8b"),
        max_context_length=8192,
        quantization="fp8",
        kv_cache_dtype="fp8",
        tensor_parallel=4,
        pipeline_parallel=1,
        nodes=2,
        node_rank=1,
        master_address="qwen-0-0.qwen.team-a.svc",
        accelerator="amd",
        gpu_memory_utilization=0.85,
        max_sequences=128,
        max_batched_tokens=4096,
        prefix_caching=False,
        chunked_prefill=True,
        speculation=Speculation("draft", 3, Repository("Qwen/Qwen3-0.6B")),
        attention="flash",
        batch_timeout_ms=20,
        startup_budget_seconds=900,
        port=9000,
        lame_duck_seconds=0,
        drain_seconds=120,
        otlp_traces_endpoint="http://jaeger:4317",
        trace_sampling=0.25,
    )


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        TENSOR_PARALLEL_SIZE="zero", ACCELERATOR="tpu", GPU_MEMORY_UTILIZATION="1.5", MODEL_NAME="ftp://x/y"
    )
    assert [text.split("=")[0] for text in found] == [
        "TENSOR_PARALLEL_SIZE",
        "ACCELERATOR",
        "GPU_MEMORY_UTILIZATION",
        "MODEL_NAME",
    ]


def test_a_problem_names_variable_value_and_what_is_allowed() -> None:
    assert problems(QUANTIZATION_MODE="int3") == (
        "QUANTIZATION_MODE='int3' is not allowed: it has to be one of auto, none, fp8, int8, int4, awq, gptq.",
    )
    assert problems(MAX_BATCH_SIZE="70000") == (
        "MAX_BATCH_SIZE='70000' is not allowed: it has to be a whole number from 1 to 65536 sequences.",
    )


def test_without_a_model_it_says_which_forms_there_are() -> None:
    with pytest.raises(WrongSettings, match=r"MODEL_NAME is not set.*hf://org/name"):
        read_settings({})


NUMBERS = [variable for variable in VARIABLES if variable.kind in (Kind.INTEGER, Kind.NUMBER)]


@pytest.mark.parametrize("variable", NUMBERS, ids=lambda variable: variable.name)
def test_bounds_hold_on_both_sides(variable: object) -> None:
    step = 1 if variable.kind is Kind.INTEGER else 0.0001
    for good in (variable.minimum, variable.maximum):
        assert variable.parse(f"{good:.10g}") == good
    for bad in (
        f"{variable.minimum - step:.10g}",
        f"{variable.maximum + step:.10g}",
        "1e3",
        "0x10",
        "nan",
        "1 2",
        "１",
    ):
        with pytest.raises(ValueError, match=f"{variable.name}=.* is not allowed"):
            variable.parse(bad)


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
        ("https://hub.example/model.safetensors", "no single file"),
        ("https://hub.example/a/b?download=1", "no single file"),
        ("https://me:secret@hub.example/a/b", "HF_TOKEN"),
        ("http://hub.example/a/b", "http:// is unknown"),
    ],
)
def test_what_is_no_source_is_refused_with_what_is_one(text: str, hint: str) -> None:
    assert hint in problems(MODEL_NAME=text)[0]


def test_flash_attention_off_means_triton() -> None:
    assert read_settings({**MODEL, "ENABLE_FLASH_ATTENTION": "false"}).attention == "triton"
    assert read_settings({**MODEL, "ENABLE_FLASH_ATTENTION": "true"}).attention == "auto"
    assert read_settings({**MODEL, "ENABLE_FLASH_ATTENTION": "false", "ATTENTION_BACKEND": "flashinfer"}).attention == (
        "flashinfer"
    )


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"MODEL_REVISION": "main"}, "no revisions"),
        ({"ENABLE_FLASH_ATTENTION": "false", "ATTENTION_BACKEND": "flash"}, "contradicts"),
        ({"ENABLE_FLASH_ATTENTION": "true", "ATTENTION_BACKEND": "triton"}, "contradicts"),
        ({"CPU_KV_CACHE_GIB": "2"}, "GPU_MEMORY_UTILIZATION instead"),
        ({"ACCELERATOR": "cpu", "GPU_MEMORY_UTILIZATION": "0.9"}, "CPU_KV_CACHE_GIB instead"),
        ({"ACCELERATOR": "cpu", "PIPELINE_PARALLEL_SIZE": "2"}, "fails at the first request"),
        ({"ACCELERATOR": "cpu", "ATTENTION_BACKEND": "triton"}, "one attention kernel"),
        ({"ACCELERATOR": "cpu", "ENABLE_FLASH_ATTENTION": "false"}, "one attention kernel"),
        ({"NUM_SPECULATIVE_TOKENS": "3"}, "without SPECULATIVE_METHOD"),
        ({"SPECULATIVE_MODEL": "/models/draft"}, "without SPECULATIVE_METHOD"),
        ({"SPECULATIVE_METHOD": "draft"}, "needs a SPECULATIVE_MODEL"),
        ({"SPECULATIVE_METHOD": "ngram", "ACCELERATOR": "cpu"}, "answers wrongly there"),
        ({"SPECULATIVE_METHOD": "ngram", "SPECULATIVE_MODEL": "/models/draft"}, "needs no model"),
        ({"SPECULATIVE_METHOD": "ngram", "PIPELINE_PARALLEL_SIZE": "2"}, "set it to 1"),
        ({"SPECULATIVE_METHOD": "draft", "SPECULATIVE_MODEL": "Qwen/Qwen3-0.6B"}, "both have to be directories"),
        ({"SPECULATIVE_METHOD": "draft", "SPECULATIVE_MODEL": "draft"}, "SPECULATIVE_MODEL='draft' is not allowed"),
        (
            {"ENABLE_CHUNKED_PREFILL": "false", "MAX_NUM_BATCHED_TOKENS": "512", "MAX_CONTEXT_LENGTH": "1024"},
            "Set it to 1024 at least",
        ),
        ({"MAX_NUM_BATCHED_TOKENS": "32", "MAX_BATCH_SIZE": "64"}, "Set it to 64 at least"),
        ({"TRACE_SAMPLING": "0.1"}, "without OTLP_TRACES_ENDPOINT"),
        ({"NODE_RANK": "1"}, "NODE_RANK=1 is not allowed: it has to be below NODES_PER_REPLICA=1"),
        ({"NODES_PER_REPLICA": "2", "TENSOR_PARALLEL_SIZE": "2"}, "needs a MASTER_ADDRESS"),
        ({"NODES_PER_REPLICA": "2", "MASTER_ADDRESS": "a"}, "an equal part of the 1 devices"),
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
