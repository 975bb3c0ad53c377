"""What vLLM is started with."""

from __future__ import annotations

import json

import pytest

from llmservice_runtime.buckets import BUCKETS
from llmservice_runtime.command import Command, make_command
from llmservice_runtime.settings import read_settings


def command(quantization: str | None = None, inherited: dict[str, str] | None = None, **environ: str) -> Command:
    return make_command(read_settings({"MODEL_NAME": "/models/tiny"} | environ), quantization, inherited or {})


def flag(made: Command, name: str) -> str | None:
    return made.arguments[made.arguments.index(name) + 1] if name in made.arguments else None


def test_what_is_absent_gets_no_flag() -> None:
    assert command().arguments == (
        *("serve", "/models/tiny", "--port", "8000", "--disable-fastapi-docs"),
        *("--disable-access-log-for-endpoints", "/health,/metrics"),
        *("--custom-histogram-buckets", json.dumps(BUCKETS, separators=(",", ":"))),
        *("--tensor-parallel-size", "1", "--pipeline-parallel-size", "1"),
    )


@pytest.mark.parametrize(
    ("variable", "value", "argument", "given"),
    [
        ("MAX_CONTEXT_LENGTH", "8192", "--max-model-len", "8192"),
        ("MAX_BATCH_SIZE", "64", "--max-num-seqs", "64"),
        ("MAX_NUM_BATCHED_TOKENS", "4096", "--max-num-batched-tokens", "4096"),
        ("GPU_MEMORY_UTILIZATION", "0.90", "--gpu-memory-utilization", "0.9"),
        ("KV_CACHE_DTYPE", "fp8", "--kv-cache-dtype", "fp8"),
        ("TENSOR_PARALLEL_SIZE", "4", "--tensor-parallel-size", "4"),
        ("PIPELINE_PARALLEL_SIZE", "2", "--pipeline-parallel-size", "2"),
        ("ATTENTION_BACKEND", "flash", "--attention-backend", "FLASH_ATTN"),
        ("ATTENTION_BACKEND", "flashinfer", "--attention-backend", "FLASHINFER"),
        ("ENABLE_FLASH_ATTENTION", "false", "--attention-backend", "TRITON_ATTN"),
        ("PORT", "9000", "--port", "9000"),
    ],
)
def test_each_variable_has_its_flag(variable: str, value: str, argument: str, given: str) -> None:
    assert flag(command(**{variable: value}), argument) == given


def test_the_buckets_are_the_same_whatever_is_served() -> None:
    given = {
        flag(command(**environ), "--custom-histogram-buckets")
        for environ in ({}, {"ACCELERATOR": "cpu"}, {"MODEL_NAME": "s3://bucket/tiny"}, {"MAX_BATCH_SIZE": "64"})
    }
    assert len(given) == 1


def test_automatic_attention_gets_no_flag() -> None:
    assert flag(command(ATTENTION_BACKEND="auto", ENABLE_FLASH_ATTENTION="true"), "--attention-backend") is None


def test_prefix_caching_is_switched_only_when_asked() -> None:
    assert "--enable-prefix-caching" in command(ENABLE_PREFIX_CACHING="true").arguments
    assert "--no-enable-prefix-caching" in command(ENABLE_PREFIX_CACHING="false").arguments


def test_all_served_names_are_given() -> None:
    arguments = command(SERVED_MODEL_NAMES="chat,chat-8b").arguments
    at = arguments.index("--served-model-name")
    assert arguments[at + 1 : at + 3] == ("chat", "chat-8b")


def test_a_revision_holds_for_weights_and_tokenizer() -> None:
    made = command(MODEL_NAME="Qwen/Qwen3-8B", MODEL_REVISION="0e9e39f2")
    assert (flag(made, "--revision"), flag(made, "--tokenizer-revision")) == ("0e9e39f2", "0e9e39f2")


def test_a_directory_is_served_without_a_hub() -> None:
    assert command().environment["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in command(MODEL_NAME="Qwen/Qwen3-8B").environment


def test_another_hub_is_asked_at_its_own_address() -> None:
    made = command(MODEL_NAME="https://hub.example/Qwen/Qwen3-8B")
    assert made.arguments[1] == "Qwen/Qwen3-8B"
    assert made.environment["HF_ENDPOINT"] == "https://hub.example"


def test_s3_is_streamed() -> None:
    made = command(MODEL_NAME="s3://bucket/tiny")
    assert (made.arguments[1], flag(made, "--load-format")) == ("s3://bucket/tiny", "runai_streamer")


def test_a_cpu_gets_a_cache_of_known_size_and_no_compilation() -> None:
    made = command(ACCELERATOR="cpu")
    assert "--enforce-eager" in made.arguments
    assert made.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert made.environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert made.environment["TORCH_COMPILE_DISABLE"] == "1", "the image has no C++ compiler"
    assert command(ACCELERATOR="cpu", CPU_KV_CACHE_GIB="4").environment["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert "VLLM_CPU_KVCACHE_SPACE" not in command().environment


def test_vllm_waits_for_its_engine_as_long_as_the_startup_budget() -> None:
    assert command(STARTUP_BUDGET_SECONDS="900").environment["VLLM_ENGINE_READY_TIMEOUT_S"] == "900"


def test_development_routes_and_by_passes_never_reach_vllm() -> None:
    inherited = {
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_USE_RUST_FRONTEND": "1",
        "VLLM_PORT": "tcp://10.0.0.1:80",
        "KEPT": "1",
    }
    environment = command(inherited=inherited).environment
    assert not environment.keys() & {"VLLM_SERVER_DEV_MODE", "VLLM_USE_RUST_FRONTEND", "VLLM_PORT"}
    assert environment["KEPT"] == "1"
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert not any("trust" in argument for argument in command(inherited=inherited).arguments)
