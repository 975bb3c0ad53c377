"""The engine's environment: the settings of the spec as variables of the runtime. See
``llmservice_contract.engine_settings``.

Plain values are in the ConfigMap. Credentials are references to the user's Secret, which the operator never reads.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic.alias_generators import to_snake

from llmservice_contract import container
from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AcceleratorType, LogFormat
from llmservice_contract.foreign import read_json
from llmservice_contract.setting import Document, Setting
from llmservice_contract.source import ObjectPrefix, Repository, SpecSource
from llmservice_operator.api.service import LLMServiceSpec, Tracing
from llmservice_operator.resources import access, adapters, devices, loading, names, outgoing, quantity
from llmservice_operator.resources.platform import NOTHING_ALLOWED, Allowed, Platform

T = TypeVar("T")

HUB_CREDENTIALS = ("HF_TOKEN",)
REQUIRED_CREDENTIALS = frozenset({"HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})


def engine(service: str, spec: LLMServiceSpec, allowed: Allowed = NOTHING_ALLOWED) -> dict[str, str]:
    """Variables of the engine's container. Settings that are absent in the spec are left to the runtime."""
    on_cpu = spec.accelerator.type is AcceleratorType.CPU
    stated = [*_copied(spec), *_made(service, spec, allowed)]
    threads = {"OMP_NUM_THREADS": str(cpu_threads(spec))} if on_cpu else {}
    traced = {"OTEL_SERVICE_NAME": service} if spec.tracing is not None else {}
    return (
        (spec.engine.env or {})
        | dict(stated)
        | _model(spec)
        | threads
        | traced
        | {"VLLM_CACHE_ROOT": f"{names.CACHE_PATH}/vllm"}
    )


def of_platform(service: str, spec: LLMServiceSpec, platform: Platform) -> dict[str, str]:
    """Variables of the engine's container on this platform. No field of the spec overrides the platform's."""
    spec = _traced(spec, platform)
    return engine(service, spec, platform.allowed) | outgoing.variables(spec, platform)


def _traced(spec: LLMServiceSpec, platform: Platform) -> LLMServiceSpec:
    """The spec with the platform's collector if it names none."""
    if spec.tracing is not None or not platform.tracing_endpoint:
        return spec
    tracing = Tracing(endpoint=platform.tracing_endpoint, sampling_percent=platform.tracing_sampling_percent)
    return spec.model_copy(update={"tracing": tracing})


def tracing_of(variables: Mapping[str, str]) -> tuple[str, int]:
    """The collector and the percentage that these variables of an engine show; an empty text if there is none."""
    share = variables.get(rows.TRACE_SAMPLING.name, "1")
    percent = round(100 * float(share)) if re.fullmatch(r"[01](\.[0-9]{1,4})?", share) else 100
    return variables.get(rows.TRACING_ENDPOINT.name, ""), percent


def revisions(spec: LLMServiceSpec) -> dict[str, str]:
    """The variables with the commits of the model and its draft model."""
    draft = spec.engine.speculative
    stated = {
        rows.MODEL_REVISION.name: spec.model.revision,
        rows.SPECULATIVE_REVISION.name: draft.revision if draft is not None else None,
    }
    return {name: revision for name, revision in stated.items() if revision is not None}


def inspection(spec: LLMServiceSpec) -> dict[str, str]:
    """Variables of the inspection: the model, and where downloads are stored."""
    needed = (rows.MODEL_REVISION.name, rows.MODEL_DIGEST.name, rows.ACCELERATOR.name)
    return {name: text for name, text in _copied(spec) if name in needed} | _model(spec) | _hub_draft(spec)


def _hub_draft(spec: LLMServiceSpec) -> dict[str, str]:
    """The draft model if it is in a hub: its commit is resolved together with the model's."""
    speculative = spec.engine.speculative
    if speculative is None or not isinstance(speculative.parsed_model, Repository):
        return {}
    revision = rows.SPECULATIVE_REVISION
    return {
        rows.SPECULATIVE_METHOD.name: speculative.method.value,
        rows.SPECULATIVE_MODEL.name: speculative.parsed_model.argument,
        **({revision.name: speculative.revision} if speculative.revision is not None else {}),
    }


def _copied(spec: LLMServiceSpec) -> Iterator[tuple[str, str]]:
    """The variables that are copies of a field, by the table. Single-node replicas omit NODES_PER_REPLICA, because a
    changed environment would be offered as an upgrade."""
    left_out = () if spec.parallelism.is_multi_node else (rows.NODES_PER_REPLICA,)
    for row in rows.SETTINGS:
        value = _at(spec, row.field) if row.is_copied and row not in left_out else None
        if value is not None:
            yield row.name, _value_text(row, value)


def _made(service: str, spec: LLMServiceSpec, allowed: Allowed) -> Iterator[tuple[str, str]]:
    """The variables that are computed from fields or the platform, or are the same for all services."""
    secret = f"{container.GROUP_SECRET_PATH}/{container.GROUP_SECRET_KEY}"
    yield from _value(rows.SERVED_NAMES, tuple(spec.model.served_names or [service]))
    yield from _value(rows.GROUP_SECRET, secret if spec.parallelism.secret_ref is not None else None)
    yield from _value(
        rows.CPU_KV_CACHE_GIB, cpu_kv_cache_gib(spec) if spec.accelerator.type is AcceleratorType.CPU else None
    )
    yield from _value(rows.STARTUP_BUDGET_SECONDS, loading.budget_seconds(spec))
    yield from _value(rows.PORT, container.HTTP_PORT)
    yield from _value(rows.METRICS_PORT_ROW, container.METRICS_PORT)
    yield from _value(rows.ACCESS_POLICY, f"{container.ACCESS_PATH}/{container.ACCESS_FILE}")
    listed = f"{container.ADAPTERS_PATH}/{container.ADAPTERS_FILE}"
    yield from _value(rows.ADAPTERS, listed if adapters.has_adapters(spec) else None)
    yield from _value(rows.API_KEYS, container.KEYS_PATH if access.keys_secret(spec) else None)
    yield from _value(rows.FAIR_SHARING, True if spec.access.fair_sharing is not None else None)
    yield from _value(rows.STORE_CREDENTIALS, container.STORE_PATH if access.store_secret(spec) else None)
    yield from _value(rows.PLATFORM_MEDIA_DOMAINS, allowed.media_domains or None)
    yield from _value(rows.LOG_FORMAT, LogFormat.JSON)
    yield from _value(rows.KV_OFFLOAD_GIB, kv_offload_gib(spec) or None)
    yield from _value(rows.CHAT_TEMPLATE, _chat_template(spec))
    if spec.engine.speculative is not None and spec.engine.speculative.parsed_model is not None:
        yield from _value(rows.SPECULATIVE_MODEL, spec.engine.speculative.parsed_model.argument)
    if spec.tracing is not None:
        yield rows.TRACE_SAMPLING.name, f"{spec.tracing.sampling_percent / 100:g}"
        yield from _value(rows.TRUST_TRACE_FLAGS, True if allowed.trace_flags else None)


def _model(spec: LLMServiceSpec) -> dict[str, str]:
    """The model, and where downloads are stored."""
    source = spec.model.parsed_source
    hub = {"HF_ENDPOINT": source.endpoint} if isinstance(source, Repository) and source.endpoint is not None else {}
    return {
        rows.MODEL_SOURCE.name: source.argument,
        "HOME": names.CACHE_PATH,
        "HF_HOME": f"{names.CACHE_PATH}/huggingface",
        **hub,
    }


def _value(row: Setting[T], value: T | None) -> Iterator[tuple[str, str]]:
    if value is not None:
        yield row.name, row.text(value)


def _at(spec: LLMServiceSpec, path: str) -> object:
    """The value of the field at a path such as ``spec.engine.maxNumSeqs``; None if it or one of its parents is
    absent."""
    value: object = spec
    for attribute in _attributes(path):
        value = None if value is None else getattr(value, attribute)
    return value


@functools.cache
def _attributes(path: str) -> tuple[str, ...]:
    """The attributes of the spec's types at a path of ``rows.SETTINGS``."""
    return tuple(map(to_snake, path.split(".")[1:]))


def _value_text(row: Setting[Any], value: object) -> str:
    if isinstance(row, Document) and isinstance(value, str):
        # In one line. What is no such object is refused by the condition Accepted, which reads it as it is.
        found = read_json(value, most=row.longest)
        return row.text(found) if isinstance(found, dict) else value
    return row.text(value) if isinstance(value, dict) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def credentials(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Variables from the Secret of ``spec.model.credentialsRef``. Those that every login needs are required, except for
    S3 with a ServiceAccount: its role may replace the keys."""
    reference = spec.model.credentials_ref
    if reference is None:
        return []
    keys = {key: key for key in _credential_keys(spec.model.parsed_source)}
    by_role = spec.service_account_name is not None and isinstance(spec.model.parsed_source, ObjectPrefix)
    required = frozenset() if by_role else REQUIRED_CREDENTIALS
    if isinstance(spec.model.parsed_source, Repository):
        # HF_ENDPOINT is the hub of the model; the variable of the Secret is the hub that may receive the token.
        keys[container.TOKEN_ENDPOINT_VARIABLE] = "HF_ENDPOINT"
    return [
        {
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": reference.name, "key": key, "optional": key not in required}},
        }
        for name, key in keys.items()
    ]


def cpu_kv_cache_gib(spec: LLMServiceSpec) -> int:
    """KV cache of each process on a CPU in GiB. Raises ValueError if the spec's value is not an integer."""
    if spec.engine.kv_cache_memory is None:
        return 1
    gib = quantity.whole_gib(spec.engine.kv_cache_memory)
    if gib is None:
        raise ValueError(
            f"spec.engine.kvCacheMemory is {spec.engine.kv_cache_memory}: vLLM accepts whole GiB on a CPU, such as 2Gi"
        )
    return gib


def kv_offload_gib(spec: LLMServiceSpec) -> int:
    """GiB of /dev/shm for cached keys and values that leave the GPUs; 0 for none. Raises ValueError where the spec's
    value is not whole."""
    if spec.engine.kv_offload_memory is None:
        return 0
    gib = quantity.whole_gib(spec.engine.kv_offload_memory)
    if gib is None:
        raise ValueError(f"spec.engine.kvOffloadMemory is {spec.engine.kv_offload_memory}: set whole GiB, such as 64Gi")
    return gib


def _chat_template(spec: LLMServiceSpec) -> str | None:
    template = spec.engine.chat_template
    if template is None or template.config_map_ref is None:
        return template.builtin if template is not None else None
    return f"{container.CHAT_TEMPLATE_PATH}/{container.CHAT_TEMPLATE_FILE}"


def cpu_threads(spec: LLMServiceSpec) -> int:
    """Threads of each process on a CPU: the CPU request of the pod divided by its processes.

    OpenMP would use every core of the node with threads that spin while they wait, so that two replicas on one node
    would block each other.
    """
    processes = devices.per_node(spec)
    return max(1, int(quantity.parse(spec.resources.cpu or processes) / processes))


def of_rank(service: str, spec: LLMServiceSpec, rank: int) -> list[dict[str, Any]]:
    """Variables by which a pod of a multi-node replica finds the others; empty for a single-node one. Pods with the
    same index belong together."""
    if not spec.parallelism.is_multi_node:
        return []
    return [
        {"name": "POD_INDEX", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{names.POD_INDEX_LABEL}']"}}},
        {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": rows.NODE_RANK.name, "value": str(rank)},
        {
            "name": rows.MASTER_ADDRESS.name,
            "value": f"{names.engine_statefulset(service)}-$(POD_INDEX).{names.headless_service(service)}",
        },
    ]


def _credential_keys(source: SpecSource) -> tuple[str, ...]:
    if isinstance(source, Repository):
        return HUB_CREDENTIALS
    if isinstance(source, ObjectPrefix):
        return tuple(key for key in container.CREDENTIAL_VARIABLES if key not in HUB_CREDENTIALS)
    return ()
