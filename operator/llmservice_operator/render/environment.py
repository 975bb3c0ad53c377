"""The engine's environment: the spec in the words of the runtime. See ``llmservice_contract.environment``.

Plain values stand in the ConfigMap; credentials are references to the user's Secret, which the operator never reads.
"""

from typing import Any

from llmservice_contract import container, environment
from llmservice_contract.variable import Variable
from llmservice_operator.api.placement import AcceleratorType
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.render import devices, loading, names, quantity
from llmservice_operator.render.source import Scheme, Source, parse

HUB_CREDENTIALS = ("HF_TOKEN",)
REQUIRED_CREDENTIALS = frozenset({"HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})


def engine(service: str, spec: LLMServiceSpec) -> dict[str, str]:
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
        environment.GPU_MEMORY_UTILIZATION: settings.gpu_memory_utilization,
        environment.MAX_BATCH_SIZE: settings.max_num_seqs,
        environment.MAX_NUM_BATCHED_TOKENS: settings.max_num_batched_tokens,
        environment.ENABLE_PREFIX_CACHING: settings.prefix_caching,
        environment.ATTENTION_BACKEND: settings.attention,
        environment.CPU_KV_CACHE_GIB: cpu_kv_cache_gib(spec) if on_cpu else None,
        environment.STARTUP_BUDGET_SECONDS: loading.budget_seconds(spec),
        environment.PORT: container.HTTP_PORT,
    }
    stated = {variable.name: _text(value) for variable, value in values.items() if value is not None}
    threads = {"OMP_NUM_THREADS": str(cpu_threads(spec))} if on_cpu else {}
    return inspection(spec) | stated | threads | {"VLLM_CACHE_ROOT": f"{names.CACHE_PATH}/vllm"}


def inspection(spec: LLMServiceSpec) -> dict[str, str]:
    """Variables that say which model, and where a download may be kept: all that an inspection needs."""
    source = parse(spec.model.source)
    variables = {
        environment.MODEL_NAME.name: source.model,
        environment.ACCELERATOR.name: spec.accelerator.type.value,
        "HOME": names.CACHE_PATH,
        "HF_HOME": f"{names.CACHE_PATH}/huggingface",
    }
    if spec.model.revision is not None:
        variables[environment.MODEL_REVISION.name] = spec.model.revision
    if source.endpoint is not None:
        variables["HF_ENDPOINT"] = source.endpoint
    return variables


def credentials(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Variables taken from the Secret of ``spec.model.credentialsRef``; those that every login needs must be there."""
    reference = spec.model.credentials_ref
    if reference is None:
        return []
    return [
        {
            "name": key,
            "valueFrom": {
                "secretKeyRef": {"name": reference.name, "key": key, "optional": key not in REQUIRED_CREDENTIALS}
            },
        }
        for key in _credential_keys(parse(spec.model.source))
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
    """Threads that each rank computes with on a CPU: what the replica asks for, shared by its ranks.

    OpenMP would take every core of the node, and its threads wait by spinning: two replicas on one node would then
    hinder each other to a standstill.
    """
    ranks = devices.per_replica(spec)
    return max(1, int(quantity.parse(spec.resources.cpu or ranks) / ranks))


def _credential_keys(source: Source) -> tuple[str, ...]:
    if source.hub:
        return HUB_CREDENTIALS
    if source.scheme is Scheme.S3:
        return tuple(key for key in container.CREDENTIAL_VARIABLES if key not in HUB_CREDENTIALS)
    return ()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
