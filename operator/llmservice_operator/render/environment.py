"""The engine's environment: the spec in the words of the runtime. See ``llmservice_contract.environment``.

Plain values stand in the ConfigMap; credentials are references to the user's Secret, which the operator never reads.
"""

from typing import Any

from llmservice_contract import container, environment
from llmservice_contract.source import ObjectPrefix, Repository, SpecSource
from llmservice_contract.variable import Variable
from llmservice_operator.api.engine import milliseconds
from llmservice_operator.api.placement import AcceleratorType
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.render import access, devices, loading, names, quantity
from llmservice_operator.render.allowed import NOTHING_ALLOWED, Allowed

LOG_FORMAT = "json"
"""Of the line about each request: in a cluster, programs read it first."""
HUB_CREDENTIALS = ("HF_TOKEN",)
REQUIRED_CREDENTIALS = frozenset({"HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})


def engine(service: str, spec: LLMServiceSpec, allowed: Allowed = NOTHING_ALLOWED) -> dict[str, str]:
    """Variables of the engine's container. A setting that the spec leaves out is left to the runtime."""
    settings = spec.engine
    on_cpu = spec.accelerator.type is AcceleratorType.CPU
    values: dict[Variable, object] = {
        environment.SERVED_MODEL_NAMES: ",".join(spec.model.served_names or [service]),
        environment.MAX_CONTEXT_LENGTH: spec.model.max_context_length,
        environment.QUANTIZATION_MODE: spec.quantization.method,
        environment.KV_CACHE_DTYPE: spec.quantization.kv_cache_dtype,
        environment.TENSOR_PARALLEL_SIZE: spec.parallelism.tensor,
        environment.PIPELINE_PARALLEL_SIZE: spec.parallelism.pipeline,
        environment.NODES_PER_REPLICA: spec.parallelism.nodes_per_replica if spec.parallelism.is_multi_node else None,
        environment.GROUP_SECRET: f"{container.GROUP_SECRET_PATH}/{container.GROUP_SECRET_KEY}"
        if spec.parallelism.secret_ref is not None
        else None,
        environment.GPU_MEMORY_UTILIZATION: settings.gpu_memory_utilization,
        environment.MAX_BATCH_SIZE: settings.max_num_seqs,
        environment.MAX_NUM_BATCHED_TOKENS: settings.max_num_batched_tokens,
        environment.ENABLE_PREFIX_CACHING: settings.prefix_caching,
        environment.ATTENTION_BACKEND: settings.attention,
        environment.CPU_KV_CACHE_GIB: cpu_kv_cache_gib(spec) if on_cpu else None,
        environment.STARTUP_BUDGET_SECONDS: loading.budget_seconds(spec),
        environment.PORT: container.HTTP_PORT,
        environment.METRICS_PORT: container.METRICS_PORT,
        environment.ENABLE_CHUNKED_PREFILL: settings.chunked_prefill,
        environment.BATCH_TIMEOUT_MS: milliseconds(settings.batch_timeout) if settings.batch_timeout else None,
        environment.LAME_DUCK_SECONDS: spec.shutdown.lame_duck_seconds,
        environment.DRAIN_SECONDS: spec.shutdown.drain_seconds,
        environment.ACCESS_POLICY: f"{container.ACCESS_PATH}/{container.ACCESS_FILE}",
        environment.API_KEYS: container.KEYS_PATH if access.keys_secret(spec) else None,
        environment.STORE_CREDENTIALS: container.STORE_PATH if access.store_secret(spec) else None,
        environment.MEDIA_DOMAINS: ",".join(spec.access.media_domains or ()) or None,
        environment.PLATFORM_MEDIA_DOMAINS: ",".join(allowed.media_domains) or None,
        environment.LOG_FORMAT: LOG_FORMAT,
        **_speculation(spec),
        **_tracing(spec, allowed),
    }
    stated = {variable.name: _text(value) for variable, value in values.items() if value is not None}
    threads = {"OMP_NUM_THREADS": str(cpu_threads(spec))} if on_cpu else {}
    traced = {"OTEL_SERVICE_NAME": service} if spec.tracing is not None else {}
    return inspection(spec) | stated | threads | traced | {"VLLM_CACHE_ROOT": f"{names.CACHE_PATH}/vllm"}


def inspection(spec: LLMServiceSpec) -> dict[str, str]:
    """Variables that say which model, and where a download may be kept: all that an inspection needs."""
    source = spec.model.parsed_source
    variables = {
        environment.MODEL_NAME.name: source.argument,
        environment.ACCELERATOR.name: spec.accelerator.type.value,
        "HOME": names.CACHE_PATH,
        "HF_HOME": f"{names.CACHE_PATH}/huggingface",
    }
    if spec.model.revision is not None:
        variables[environment.MODEL_REVISION.name] = spec.model.revision
    if isinstance(source, Repository) and source.endpoint is not None:
        variables["HF_ENDPOINT"] = source.endpoint
    return variables


def credentials(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Variables taken from the Secret of ``spec.model.credentialsRef``; those that every login needs must be there."""
    reference = spec.model.credentials_ref
    if reference is None:
        return []
    keys = {key: key for key in _credential_keys(spec.model.parsed_source)}
    if isinstance(spec.model.parsed_source, Repository):
        # HF_ENDPOINT itself is where the model lies; the Secret's says where its token may be sent.
        keys[container.TOKEN_ENDPOINT_VARIABLE] = "HF_ENDPOINT"
    return [
        {
            "name": name,
            "valueFrom": {
                "secretKeyRef": {"name": reference.name, "key": key, "optional": key not in REQUIRED_CREDENTIALS}
            },
        }
        for name, key in keys.items()
    ]


def cpu_kv_cache_gib(spec: LLMServiceSpec) -> int:
    """GiB of KV cache of each process on a CPU. Raises ValueError where the spec's value is not whole."""
    if spec.engine.kv_cache_memory is None:
        return 1
    gib = quantity.whole_gib(spec.engine.kv_cache_memory)
    if gib is None:
        raise ValueError(
            f"spec.engine.kvCacheMemory is {spec.engine.kv_cache_memory}: vLLM takes whole GiB on a CPU, such as 2Gi"
        )
    return gib


def cpu_threads(spec: LLMServiceSpec) -> int:
    """Threads that each process computes with on a CPU: what the pod asks for, shared by its processes.

    OpenMP would take every core of the node, and its threads wait by spinning: two replicas on one node would then
    hinder each other to a standstill.
    """
    processes = devices.per_node(spec)
    return max(1, int(quantity.parse(spec.resources.cpu or processes) / processes))


def of_rank(service: str, spec: LLMServiceSpec, rank: int) -> list[dict[str, Any]]:
    """Variables by which a pod finds its place among those that its replica consists of; none where it is the only
    one. The pods of one number belong together."""
    if not spec.parallelism.is_multi_node:
        return []
    return [
        {"name": "POD_INDEX", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{names.POD_INDEX_LABEL}']"}}},
        {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": environment.NODE_RANK.name, "value": str(rank)},
        {
            "name": environment.MASTER_ADDRESS.name,
            "value": f"{names.engine_statefulset(service)}-$(POD_INDEX).{names.headless_service(service)}",
        },
    ]


def _speculation(spec: LLMServiceSpec) -> dict[Variable, object]:
    speculative = spec.engine.speculative
    if speculative is None:
        return {}
    return {
        environment.SPECULATIVE_METHOD: speculative.method,
        environment.SPECULATIVE_MODEL: speculative.parsed_model.argument if speculative.parsed_model else None,
        environment.NUM_SPECULATIVE_TOKENS: speculative.tokens,
    }


def _tracing(spec: LLMServiceSpec, allowed: Allowed) -> dict[Variable, object]:
    if spec.tracing is None:
        return {}
    return {
        environment.OTLP_TRACES_ENDPOINT: spec.tracing.endpoint,
        environment.TRACE_SAMPLING: f"{spec.tracing.sampling_percent / 100:g}",
        environment.TRUST_TRACE_FLAGS: True if allowed.trace_flags else None,
    }


def _credential_keys(source: SpecSource) -> tuple[str, ...]:
    if isinstance(source, Repository):
        return HUB_CREDENTIALS
    if isinstance(source, ObjectPrefix):
        return tuple(key for key in container.CREDENTIAL_VARIABLES if key not in HUB_CREDENTIALS)
    return ()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
