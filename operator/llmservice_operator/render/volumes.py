"""Volumes of the pods and where they are mounted: the only places that a container can write, and the model."""

from typing import Any

from llmservice_contract.container import MODELS_PATH
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.render import devices, names
from llmservice_operator.render.source import parse


def engine_volumes(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Volumes of an engine's pod. /dev/shm is memory, in a size that the engine's processes need to talk."""
    size = spec.resources.shared_memory or f"{max(2, devices.per_replica(spec))}Gi"
    shared = {"name": names.SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": str(size)}}
    return [*inspection_volumes(spec), shared]


def engine_mounts(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Mounts of the engine's container."""
    return [*inspection_mounts(spec), {"name": names.SHARED_MEMORY_VOLUME, "mountPath": "/dev/shm"}]  # noqa: S108


def inspection_volumes(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Volumes of a pod that only reads the model's configuration."""
    claim = parse(spec.model.source).claim
    model = {"name": names.MODEL_VOLUME, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    return [
        *([model] if claim else []),
        {"name": names.CACHE_VOLUME, "emptyDir": {}},
        {"name": names.SCRATCH_VOLUME, "emptyDir": {}},
    ]


def inspection_mounts(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Mounts of the inspection's container."""
    model = {"name": names.MODEL_VOLUME, "mountPath": MODELS_PATH, "readOnly": True}
    return [
        *([model] if parse(spec.model.source).claim else []),
        {"name": names.CACHE_VOLUME, "mountPath": names.CACHE_PATH},
        {"name": names.SCRATCH_VOLUME, "mountPath": "/tmp"},  # noqa: S108
    ]
