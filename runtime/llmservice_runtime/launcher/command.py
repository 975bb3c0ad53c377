"""Makes vLLM's command line and environment from the settings. Pure.

A setting that is absent gets no flag, so vLLM chooses. `trust_remote_code` is never set. Variables that would open
vLLM's development routes, bypass its Python front end or log answers are removed from the child's environment. The
gateway and the plug-in are always part of the API process; in a replica on several nodes, only rank 0 has one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from llmservice_contract import engine_arguments
from llmservice_contract import engine_settings as rows
from llmservice_contract.adapters import MOST_ADAPTERS, lora_rank
from llmservice_contract.choices import AcceleratorType, ModelFormat, SpeculativeMethod
from llmservice_contract.container import MASTER_PORT
from llmservice_contract.engine_settings import NO_DOMAIN
from llmservice_contract.metrics import BUCKETS
from llmservice_contract.policy import MOST_CHOICES
from llmservice_contract.setting import Target
from llmservice_contract.source import Directory, ObjectPrefix, Repository
from llmservice_runtime.launcher.settings import NO_PARSERS, Parsers, Settings

NO_NODE_ROLE = MappingProxyType(
    {
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_GCE_CHECK": "true",
        "GCE_METADATA_HOST": "none.invalid",
        "GCE_METADATA_IP": "none.invalid",
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    }
)
"""Environment of every process that reads a model: it keeps clients of object stores and hubs away from the cloud's
metadata service. Without other credentials they get the node's role from it, and could read what the tenant may not.
Credentials of the pod's ServiceAccount (EKS web identity, EKS Pod Identity) come from variables and files, and work."""


ROLE_VARIABLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
"""What clouds set in a pod whose ServiceAccount has a role."""


def has_role_alone(environ: Mapping[str, str]) -> bool:
    """Whether the pod has a role of its ServiceAccount and no keys, which would have precedence."""
    return not environ.get("AWS_ACCESS_KEY_ID") and any(environ.get(name) for name in ROLE_VARIABLES)


def _streamer(environ: Mapping[str, str]) -> dict[str, str]:
    """The streamer's own client asks AWS' STS for a role's keys, whatever AWS_ENDPOINT_URL says. With boto3 it gets
    them as the inspection does."""
    return {"RUNAI_STREAMER_NO_BOTO3_SESSION": "0"} if has_role_alone(environ) else {}


SPECULATIVE_METHODS = {SpeculativeMethod.DRAFT: "draft_model"}
"""vLLM's words where they are others."""

GATEWAY = "llmservice_runtime.gateway.Gateway"
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
"""How long a client's connection may be idle. Load balancers keep connections for up to 600 s, and sometimes answer 502
if the server closes one first."""
MOST_HEAD_BYTES, MOST_HEADERS = 64 * 1024, 128
"""Limits of a request line with headers. See connections; the flags apply in an image whose HTTP server has another
parser."""

ALWAYS = {
    **NO_NODE_ROLE,
    "PYTHONUNBUFFERED": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_MAX_N_SEQUENCES": str(MOST_CHOICES),
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_SECONDS),
}


@dataclass(frozen=True, slots=True)
class Command:
    """The arguments after `vllm`, and the child's whole environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    shared: tuple[str, ...]
    """The arguments that are the same on all nodes of a replica."""


def make_command(
    settings: Settings,
    quantization: str | None,
    load_format: str,
    environ: Mapping[str, str],
    parsers: Parsers = NO_PARSERS,
    host: str | None = None,
) -> Command:
    """The command for `settings`; `quantization` is the value of --quantization, None for no flag, `load_format` that
    of --load-format; `parsers` are those of the model; `host` is the address to listen on, None for vLLM's default."""
    shared = (
        *_copied(settings, Target.ENGINE),
        *_of_engine(settings, quantization, load_format),
    )
    server = (*_of_server(settings, host), *_of_parsers(parsers)) if settings.values[rows.NODE_RANK] == 0 else ()
    kept = {name: value for name, value in environ.items() if name not in WITHHELD}
    return Command(
        ("serve", settings.source.argument, *server, *shared, *_of_rank(settings)),
        kept
        | ALWAYS
        | _streamer(environ)
        | _plugins(environ)
        | _tracing(settings, environ)
        | dict(_environment(settings)),
        ("serve", settings.source.argument, *shared),
    )


def _copied(settings: Settings, target: Target) -> Iterator[str]:
    """The arguments that follow from the table alone: of each setting that applies to the device and has a value."""
    for row in rows.SETTINGS:
        value = settings.values.get(row)
        if row.passing.target is target and settings.accelerator in row.devices and value is not None:
            yield from row.arguments(value)


def _of_server(settings: Settings, host: str | None) -> Iterator[str]:
    yield from _copied(settings, Target.SERVER)
    if host is not None:
        yield from ("--host", host)
    yield from ("--middleware", GATEWAY)
    yield from ("--api-server-count", "1")
    yield "--disable-fastapi-docs"
    yield "--disable-uvicorn-access-log"
    yield from ("--h11-max-incomplete-event-size", str(MOST_HEAD_BYTES))
    yield from ("--h11-max-header-count", str(MOST_HEADERS))
    # The gateway says which web pages may read answers; before 0.32, vLLM allows all of them.
    yield from ("--allowed-origins", "[]")
    yield from ("--allowed-media-domains", *(settings.media_domains or (NO_DOMAIN,)))
    yield from engine_arguments.vllm_arguments(settings.values.get(rows.EXTRA_ARGS) or {}, of_server=True)


def _of_parsers(parsers: Parsers) -> Iterator[str]:
    if parsers.tool_calls is not None:
        yield from ("--enable-auto-tool-choice", "--tool-call-parser", parsers.tool_calls)
    if parsers.reasoning is not None:
        yield from ("--reasoning-parser", parsers.reasoning)


def _of_engine(settings: Settings, quantization: str | None, load_format: str) -> Iterator[str]:
    """The arguments that follow from several settings or from the model, and those that are always set."""
    yield from ("--custom-histogram-buckets", json.dumps(BUCKETS, separators=(",", ":")))
    yield from ("--load-format", load_format)
    if settings.values[rows.FAIR_SHARING]:
        yield from ("--scheduling-policy", "priority")
    if quantization is not None:
        yield from ("--quantization", quantization)
    speculative = _speculative(settings)
    if speculative is not None:
        yield from ("--speculative-config", speculative)
    if settings.values.get(rows.ADAPTERS) is not None:
        rank = settings.values[rows.MAX_LORA_RANK]
        yield "--enable-lora"
        yield from ("--max-loras", str(settings.values[rows.MAX_LORAS]))
        yield from ("--max-lora-rank", str(lora_rank(rank)))
        # All adapters, and those that they replace until no request uses them.
        yield from ("--max-cpu-loras", str(2 * MOST_ADAPTERS))
    offloaded = settings.values.get(rows.KV_OFFLOAD_GIB)
    if offloaded is not None and settings.accelerator in rows.KV_OFFLOAD_GIB.devices:
        # vLLM takes the size for each engine.
        yield from ("--kv-offloading-size", f"{offloaded / (settings.values.get(rows.DATA_PARALLEL) or 1):g}")
    yield from engine_arguments.vllm_arguments(settings.values.get(rows.EXTRA_ARGS) or {}, of_server=False)
    yield from _of_model(settings)
    nodes = settings.values[rows.NODES_PER_REPLICA]
    if nodes > 1:
        yield from ("--nnodes", str(nodes))
        yield from ("--master-addr", settings.values[rows.MASTER_ADDRESS])
        yield from ("--master-port", str(MASTER_PORT))
    if settings.accelerator is AcceleratorType.CPU and "enforce-eager" not in (
        settings.values.get(rows.EXTRA_ARGS) or {}
    ):
        yield "--enforce-eager"


def _of_model(settings: Settings) -> Iterator[str]:
    model_format = settings.values.get(rows.MODEL_FORMAT)
    if model_format is not None:
        yield from ("--config-format", str(model_format))
    if model_format is ModelFormat.MISTRAL:
        yield from ("--tokenizer-mode", "mistral")
    limits = {
        kind: limit
        for kind, row in (("image", rows.IMAGE_LIMIT), ("video", rows.VIDEO_LIMIT), ("audio", rows.AUDIO_LIMIT))
        if (limit := settings.values.get(row)) is not None
    }
    if limits:
        yield from ("--limit-mm-per-prompt", json.dumps(limits, separators=(",", ":")))
    backend = settings.values.get(rows.STRUCTURED_OUTPUTS_BACKEND)
    if backend is not None:
        yield from ("--structured-outputs-config", json.dumps({"backend": backend}, separators=(",", ":")))


def _of_rank(settings: Settings) -> Iterator[str]:
    rank = settings.values[rows.NODE_RANK]
    if settings.values[rows.NODES_PER_REPLICA] > 1:
        yield from ("--node-rank", str(rank))
    if rank > 0:
        yield "--headless"


def _speculative(settings: Settings) -> str | None:
    speculation = settings.speculation
    if speculation is None:
        return None
    config: dict[str, object] = {
        "method": SPECULATIVE_METHODS.get(speculation.method, str(speculation.method)),
        "num_speculative_tokens": speculation.tokens,
    }
    if speculation.draft is not None:
        # The draft model must have the same tensor parallelism as the model.
        tensor = settings.values[rows.TENSOR_PARALLEL]
        config |= {"model": speculation.draft.argument, "draft_tensor_parallel_size": tensor}
    if speculation.revision is not None:
        config["revision"] = speculation.revision
    return json.dumps(config, separators=(",", ":"))


def _plugins(environ: Mapping[str, str]) -> dict[str, str]:
    """vLLM loads only the plug-ins of this list: those that the user named, and ours."""
    named = [name for name in environ.get("VLLM_PLUGINS", "").split(",") if name]
    return {"VLLM_PLUGINS": ",".join(dict.fromkeys([*named, PLUGIN]))}


def _tracing(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    endpoint = settings.values.get(rows.TRACING_ENDPOINT)
    if endpoint is None:
        return {}
    names = settings.values.get(rows.SERVED_NAMES) or (settings.source.argument,)
    return {
        "OTEL_SERVICE_NAME": environ.get("OTEL_SERVICE_NAME") or names[0],
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf" if urlsplit(endpoint).path.strip("/") else "grpc",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(settings.values[rows.TRACE_SAMPLING]),
    }


def _environment(settings: Settings) -> Iterator[tuple[str, str]]:
    match settings.source:
        case Directory() | ObjectPrefix():
            yield "HF_HUB_OFFLINE", "1"  # such models have no files on a hub, whatever their configuration names
        case Repository(endpoint=str(endpoint)):
            yield "HF_ENDPOINT", endpoint
    if settings.media_domains:
        yield "VLLM_MEDIA_CONNECTOR", MEDIA_CONNECTOR
    for row in rows.SETTINGS:
        value = settings.values.get(row)
        if row.passing.target is Target.VARIABLE and settings.accelerator in row.devices and value is not None:
            yield from ((name, str(value)) for name in row.passing.names)
    if settings.accelerator is AcceleratorType.CPU:
        yield "VLLM_CPU_OMP_THREADS_BIND", "nobind"
        # Several ranks compile a small function even when eager; the image has no C++ compiler.
        yield "TORCH_COMPILE_DISABLE", "1"
