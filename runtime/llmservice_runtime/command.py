"""From settings to vLLM's command line and environment. Pure.

What is absent in the settings gets no flag, so it stays vLLM's own choice. `trust_remote_code` is never given, and
what would open vLLM's development routes or by-pass its Python front end is withheld from the child.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llmservice_contract.container import HEALTH_PATH
from llmservice_runtime.buckets import BUCKETS
from llmservice_runtime.settings import Settings
from llmservice_runtime.source import Directory, ObjectPrefix, Repository

ATTENTION_BACKENDS = {"flash": "FLASH_ATTN", "triton": "TRITON_ATTN", "flashinfer": "FLASHINFER"}
DEFAULT_CPU_KV_CACHE_GIB = 1

WITHHELD = (
    "VLLM_SERVER_DEV_MODE",
    "VLLM_USE_RUST_FRONTEND",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    "VLLM_ALLOW_INSECURE_SERIALIZATION",
    "VLLM_TORCH_PROFILER_DIR",
    "VLLM_USE_MODELSCOPE",
    "VLLM_PORT",
)
"""Variables that the child never sees. VLLM_PORT is what Kubernetes sets for a Service called vllm."""

ALWAYS = {
    "PYTHONUNBUFFERED": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_MAX_N_SEQUENCES": "64",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
}


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: the arguments after `vllm`, and the child's whole environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def make_command(settings: Settings, quantization: str | None, environ: Mapping[str, str]) -> Command:
    """The command for `settings`; `quantization` is the value of --quantization, None for no flag."""
    arguments = ("serve", settings.source.argument, *_arguments(settings, quantization))
    kept = {name: value for name, value in environ.items() if name not in WITHHELD}
    return Command(arguments, kept | ALWAYS | dict(_environment(settings)))


def _arguments(settings: Settings, quantization: str | None) -> Iterator[str]:
    yield from ("--port", str(settings.port))
    yield "--disable-fastapi-docs"
    yield from ("--disable-access-log-for-endpoints", f"{HEALTH_PATH},/metrics")
    yield from ("--custom-histogram-buckets", json.dumps(BUCKETS, separators=(",", ":")))
    if settings.served_names:
        yield from ("--served-model-name", *settings.served_names)
    optional: dict[str, object] = {
        "--revision": settings.revision,
        "--tokenizer-revision": settings.revision,
        "--load-format": "runai_streamer" if isinstance(settings.source, ObjectPrefix) else None,
        "--max-model-len": settings.max_context_length,
        "--quantization": quantization,
        "--kv-cache-dtype": settings.kv_cache_dtype,
        "--gpu-memory-utilization": settings.gpu_memory_utilization,
        "--max-num-seqs": settings.max_sequences,
        "--max-num-batched-tokens": settings.max_batched_tokens,
        "--attention-backend": ATTENTION_BACKENDS.get(settings.attention),
    }
    for flag, value in optional.items():
        if value is not None:
            yield from (flag, str(value))
    if settings.prefix_caching is not None:
        yield "--enable-prefix-caching" if settings.prefix_caching else "--no-enable-prefix-caching"
    yield from ("--tensor-parallel-size", str(settings.tensor_parallel))
    yield from ("--pipeline-parallel-size", str(settings.pipeline_parallel))
    if settings.accelerator == "cpu":
        yield "--enforce-eager"


def _environment(settings: Settings) -> Iterator[tuple[str, str]]:
    match settings.source:
        case Directory():
            yield "HF_HUB_OFFLINE", "1"
        case Repository(endpoint=str(endpoint)):
            yield "HF_ENDPOINT", endpoint
    if settings.startup_budget_seconds is not None:
        yield "VLLM_ENGINE_READY_TIMEOUT_S", str(settings.startup_budget_seconds)
    if settings.accelerator == "cpu":
        yield "VLLM_CPU_KVCACHE_SPACE", str(settings.cpu_kv_cache_gib or DEFAULT_CPU_KV_CACHE_GIB)
        yield "VLLM_CPU_OMP_THREADS_BIND", "nobind"
        # Several ranks compile a small function even when eager; the image has no C++ compiler.
        yield "TORCH_COMPILE_DISABLE", "1"
