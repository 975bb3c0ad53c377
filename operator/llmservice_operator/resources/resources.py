"""What the containers ask of a node: devices, cores, memory and disk."""

from typing import Any

from llmservice_contract.accelerator import AcceleratorType
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import devices, environment, limits
from llmservice_operator.resources.platform import Platform

BASE_GIB = 4
"""Host memory of vLLM's server itself."""
GIB_PER_GPU = 4
"""Host memory of one GPU's worker process."""


def engine_resources(spec: LLMServiceSpec, platform: Platform) -> dict[str, Any]:
    """Requests and limits of the engine's container. Devices are never overcommitted: request and limit are equal."""
    host = spec.resources
    count, least = devices.per_node(spec), least_memory_gib(spec)
    requests: dict[str, str] = {"cpu": str(host.cpu or count), "memory": str(host.memory or f"{least}Gi")}
    most: dict[str, str | None] = {
        "memory": limits.memory(spec, platform, least),
        "ephemeral-storage": limits.disk(spec, platform),
    }
    if host.ephemeral_storage is not None or most["ephemeral-storage"] is not None:
        # Kubernetes would ask for the limit where a request is absent.
        requests["ephemeral-storage"] = str(host.ephemeral_storage or 0)
    device = devices.resource_name(spec.accelerator)
    if device is not None:
        requests[device] = most[device] = str(count)
    stated = {name: amount for name, amount in most.items() if amount is not None}
    return {"requests": requests, "limits": stated} if stated else {"requests": requests}


def least_memory_gib(spec: LLMServiceSpec) -> int:
    """Host memory in GiB that an engine's pod needs at least: on a CPU that of its KV caches too."""
    count = devices.per_node(spec)
    if spec.accelerator.type is AcceleratorType.CPU:
        return BASE_GIB + count * environment.cpu_kv_cache_gib(spec)
    return BASE_GIB + count * GIB_PER_GPU


def inspection_resources() -> dict[str, Any]:
    """Requests and limits of the container that reads a model's configuration: small, without a device."""
    return {
        "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "0"},
        "limits": {"memory": "1Gi", "ephemeral-storage": "2Gi"},
    }
