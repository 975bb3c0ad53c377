"""From settings to vLLM's command line and environment. Pure.

What is absent in the settings gets no flag, so it stays vLLM's own choice. `trust_remote_code` is never given, and
what would open vLLM's development routes, by-pass its Python front end or log answers is withheld from the child. The
front and the plug-in are always part of it, in the one API process that there is. Of a replica on several nodes, rank 0
alone has that process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmservice_contract.buckets import BUCKETS
from llmservice_contract.container import MASTER_PORT
from llmservice_contract.media import NO_DOMAIN
from llmservice_contract.source import Directory, Repository
from llmservice_runtime.cloud import NO_NODE_ROLE
from llmservice_runtime.settings import Settings

ATTENTION_BACKENDS = {"flash": "FLASH_ATTN", "triton": "TRITON_ATTN", "flashinfer": "FLASHINFER"}
SPECULATIVE_METHODS = {"ngram": "ngram", "draft": "draft_model"}
DEFAULT_CPU_KV_CACHE_GIB = 1

FRONT = "llmservice_runtime.front.Front"
MEDIA_CONNECTOR = "llmservice"
"""The name of `media_connector.Connector` in vLLM's registry."""
PLUGIN = "llmservice"
"""The name of the runtime's entry points in all of vLLM's groups."""

WITHHELD = (
    "VLLM_SERVER_DEV_MODE",
    "VLLM_USE_RUST_FRONTEND",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    "VLLM_ALLOW_INSECURE_SERIALIZATION",
    "VLLM_TORCH_PROFILER_DIR",
    "VLLM_USE_MODELSCOPE",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE",
    "VLLM_PORT",
    "VLLM_MEDIA_CONNECTOR",
    "PROMETHEUS_MULTIPROC_DIR",
)
"""Variables that the child never sees. VLLM_PORT is what Kubernetes sets for a Service called vllm."""

KEEP_ALIVE_SECONDS = 620
"""How long a client's connection may be idle. Load balancers keep theirs for up to 600 s: one that the server closes
first makes them answer 502 at times."""
MOST_HEAD_BYTES, MOST_HEADERS = 64 * 1024, 128
"""Of a request line with headers. See connections; the flags hold in an image whose HTTP server has another parser."""

ALWAYS = {
    **NO_NODE_ROLE,
    "PYTHONUNBUFFERED": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_MAX_N_SEQUENCES": "64",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_SECONDS),
}


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: the arguments after `vllm`, and the child's whole environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    shared: tuple[str, ...]
    """The arguments that are the same on all nodes of a replica."""


def make_command(settings: Settings, quantization: str | None, load_format: str, environ: Mapping[str, str]) -> Command:
    """The command for `settings`; `quantization` is the value of --quantization, None for no flag, `load_format` that
    of --load-format."""
    shared = tuple(_of_engine(settings, quantization, load_format))
    server = _of_server(settings) if settings.node_rank == 0 else ()
    kept = {name: value for name, value in environ.items() if name not in WITHHELD}
    return Command(
        ("serve", settings.source.argument, *server, *shared, *_of_rank(settings)),
        kept | ALWAYS | _plugins(environ) | _tracing(settings, environ) | dict(_environment(settings)),
        ("serve", settings.source.argument, *shared),
    )


def _of_server(settings: Settings) -> Iterator[str]:
    yield from ("--port", str(settings.port))
    yield from ("--middleware", FRONT)
    yield from ("--api-server-count", "1")
    yield "--disable-fastapi-docs"
    yield "--disable-uvicorn-access-log"
    yield from ("--h11-max-incomplete-event-size", str(MOST_HEAD_BYTES))
    yield from ("--h11-max-header-count", str(MOST_HEADERS))
    yield from ("--allowed-media-domains", *(settings.media_domains or (NO_DOMAIN,)))


def _of_engine(settings: Settings, quantization: str | None, load_format: str) -> Iterator[str]:
    yield from ("--custom-histogram-buckets", json.dumps(BUCKETS, separators=(",", ":")))
    if settings.served_names:
        yield from ("--served-model-name", *settings.served_names)
    optional: dict[str, object] = {
        "--revision": settings.revision,
        "--tokenizer-revision": settings.revision,
        "--load-format": load_format,
        "--max-model-len": settings.max_context_length,
        "--quantization": quantization,
        "--kv-cache-dtype": settings.kv_cache_dtype,
        "--gpu-memory-utilization": settings.gpu_memory_utilization,
        "--max-num-seqs": settings.max_sequences,
        "--max-num-batched-tokens": settings.max_batched_tokens,
        "--attention-backend": ATTENTION_BACKENDS.get(settings.attention),
        "--speculative-config": _speculative(settings),
        "--otlp-traces-endpoint": settings.otlp_traces_endpoint,
    }
    for flag, value in optional.items():
        if value is not None:
            yield from (flag, str(value))
    if settings.prefix_caching is not None:
        yield "--enable-prefix-caching" if settings.prefix_caching else "--no-enable-prefix-caching"
    if settings.chunked_prefill is not None:
        yield "--enable-chunked-prefill" if settings.chunked_prefill else "--no-enable-chunked-prefill"
    yield from ("--tensor-parallel-size", str(settings.tensor_parallel))
    yield from ("--pipeline-parallel-size", str(settings.pipeline_parallel))
    if settings.nodes > 1:
        yield from ("--nnodes", str(settings.nodes))
        yield from ("--master-addr", str(settings.master_address))
        yield from ("--master-port", str(MASTER_PORT))
    if settings.accelerator == "cpu":
        yield "--enforce-eager"


def _of_rank(settings: Settings) -> Iterator[str]:
    if settings.nodes > 1:
        yield from ("--node-rank", str(settings.node_rank))
    if settings.node_rank > 0:
        yield "--headless"


def _speculative(settings: Settings) -> str | None:
    speculation = settings.speculation
    if speculation is None:
        return None
    config: dict[str, object] = {
        "method": SPECULATIVE_METHODS[speculation.method],
        "num_speculative_tokens": speculation.tokens,
    }
    if speculation.draft is not None:
        # The draft has to be split as the model is.
        config |= {"model": speculation.draft.argument, "draft_tensor_parallel_size": settings.tensor_parallel}
    return json.dumps(config, separators=(",", ":"))


def _plugins(environ: Mapping[str, str]) -> dict[str, str]:
    """vLLM loads the plug-ins of this list alone: those named before, and ours. What is there by chance stays out."""
    named = [name for name in environ.get("VLLM_PLUGINS", "").split(",") if name]
    return {"VLLM_PLUGINS": ",".join(dict.fromkeys([*named, PLUGIN]))}


def _tracing(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    endpoint = settings.otlp_traces_endpoint
    if endpoint is None:
        return {}
    service = settings.served_names[0] if settings.served_names else settings.source.argument
    return {
        "OTEL_SERVICE_NAME": environ.get("OTEL_SERVICE_NAME") or service,
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf" if urlsplit(endpoint).path.strip("/") else "grpc",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(settings.trace_sampling),
    }


def _environment(settings: Settings) -> Iterator[tuple[str, str]]:
    match settings.source:
        case Directory():
            yield "HF_HUB_OFFLINE", "1"
        case Repository(endpoint=str(endpoint)):
            yield "HF_ENDPOINT", endpoint
    if settings.media_domains:
        yield "VLLM_MEDIA_CONNECTOR", MEDIA_CONNECTOR
    if settings.startup_budget_seconds is not None:
        yield "VLLM_ENGINE_READY_TIMEOUT_S", str(settings.startup_budget_seconds)
    if settings.accelerator == "cpu":
        yield "VLLM_CPU_KVCACHE_SPACE", str(settings.cpu_kv_cache_gib or DEFAULT_CPU_KV_CACHE_GIB)
        yield "VLLM_CPU_OMP_THREADS_BIND", "nobind"
        # Several ranks compile a small function even when eager; the image has no C++ compiler.
        yield "TORCH_COMPILE_DISABLE", "1"
