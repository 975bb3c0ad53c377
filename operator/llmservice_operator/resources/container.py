"""The containers of the engine and of the inspection, and their resources."""

from typing import Any

from llmservice_contract import container as contract
from llmservice_contract.choices import AcceleratorType
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import (
    device_claims,
    devices,
    environment,
    limits,
    loading,
    names,
    outgoing,
    pod,
    probes,
    quantity,
    volumes,
)
from llmservice_operator.resources.platform import Platform

BASE_GIB = 4
"""Host memory of vLLM's server itself."""
GIB_PER_GPU = 4
"""Host memory of the worker process of one GPU."""


def engine_resources(spec: LLMServiceSpec, platform: Platform) -> dict[str, Any]:
    """Requests and limits of the engine's container. Devices can't be overcommitted: request and limit are equal."""
    host = spec.resources
    count, least = devices.per_node(spec), least_memory_gib(spec)
    requests: dict[str, str] = {"cpu": limits.cpu_request(spec), "memory": str(host.memory or f"{least}Gi")}
    most: dict[str, str | None] = {
        "cpu": limits.cpu(spec, platform),
        "memory": limits.memory(spec, platform, least),
        "ephemeral-storage": limits.disk(spec, platform),
    }
    if host.ephemeral_storage is not None or most["ephemeral-storage"] is not None:
        # Without a request Kubernetes would use the limit as the request.
        requests["ephemeral-storage"] = str(host.ephemeral_storage or 0)
    device = devices.resource_name(spec.accelerator)
    if device is not None and spec.accelerator.device_class_name is None:
        requests[device] = most[device] = str(count)
    for name, number in (host.devices or {}).items():
        requests[name] = most[name] = str(number)
    stated = {name: amount for name, amount in most.items() if amount is not None}
    return {
        "requests": requests,
        **({"limits": stated} if stated else {}),
        **({"claims": device_claims.of_container()} if spec.accelerator.device_class_name is not None else {}),
    }


def least_memory_gib(spec: LLMServiceSpec) -> int:
    """Minimum host memory of an engine pod in GiB; on a CPU including its KV caches."""
    count = devices.per_node(spec)
    if spec.accelerator.type is AcceleratorType.CPU:
        return BASE_GIB + count * environment.cpu_kv_cache_gib(spec)
    return BASE_GIB + count * GIB_PER_GPU + environment.kv_offload_gib(spec)


def inspection_resources(spec: LLMServiceSpec, platform: Platform) -> dict[str, Any]:
    """Requests and limits of the inspection container: small, without a device. It has a CPU limit if the engine has
    one, of at most one core."""
    most = limits.cpu(spec, platform)
    cpu = {} if most is None else {"cpu": min(most, "1", key=quantity.parse)}
    stated = platform.inspection_resources
    upper = {**cpu, "memory": "1Gi", "ephemeral-storage": "2Gi", **stated.get("limits", {})}
    lower = {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "0"}
    for name in lower.keys() & upper.keys():
        lower[name] = min(lower[name], upper[name], key=quantity.parse)
    return {"requests": {**lower, **stated.get("requests", {})}, "limits": upper}


def make_engine_container(
    service: str, spec: LLMServiceSpec, platform: Platform, configmap: str, rank: int = 0
) -> dict[str, Any]:
    """The engine's container for one rank. Its plain environment is in ``configmap``."""
    variables = [*environment.credentials(spec), *environment.of_rank(service, spec, rank)]
    several = spec.parallelism.is_multi_node
    drain = {"preStop": {"exec": {"command": list(contract.DRAIN_ARGUMENTS)}}}
    return {
        "name": contract.ENGINE_CONTAINER,
        **_program(spec, platform, contract.SERVE_ARGUMENTS),
        "envFrom": [{"configMapRef": {"name": configmap}}],
        **({"env": variables} if variables else {}),
        "ports": _ports(rank, several=several),
        **(probes.rank_probes(rank) if several else probes.engine_probes(loading.budget_seconds(spec))),
        **({"lifecycle": drain} if rank == 0 else {}),
        "resources": engine_resources(spec, platform),
        "volumeMounts": [*volumes.engine_mounts(spec, rank), *outgoing.mounts(platform)],
    }


def make_inspection_container(spec: LLMServiceSpec, platform: Platform) -> dict[str, Any]:
    """The inspection container, which only reports the model's configuration."""
    variables = environment.inspection(spec) | outgoing.variables(spec, platform)
    plain = [{"name": name, "value": value} for name, value in sorted(variables.items())]
    return {
        "name": names.INSPECTION_CONTAINER,
        **_program(spec, platform, contract.INSPECT_ARGUMENTS),
        "env": [*plain, *environment.credentials(spec)],
        "resources": inspection_resources(spec, platform),
        "volumeMounts": [*volumes.inspection_mounts(spec), *outgoing.mounts(platform)],
    }


def _ports(rank: int, *, several: bool) -> list[dict[str, Any]]:
    served = {contract.HTTP_PORT_NAME: contract.HTTP_PORT, contract.METRICS_PORT_NAME: contract.METRICS_PORT}
    ports = served if rank == 0 else {}
    if several:
        ports |= {contract.PROBE_PORT_NAME: contract.PROBE_PORT}
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()]


def _program(spec: LLMServiceSpec, platform: Platform, arguments: tuple[str, ...]) -> dict[str, Any]:
    return {
        "image": pod.image(spec, platform),
        "imagePullPolicy": platform.image_pull_policy,
        "command": list(arguments[:-1]),
        "args": list(arguments[-1:]),
        "securityContext": pod.container_security(),
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
