"""Volumes of the pods and where they are mounted: the only places that a container can write, and the model."""

from typing import Any

from llmservice_contract.container import (
    ACCESS_PATH,
    GROUP_SECRET_KEY,
    GROUP_SECRET_PATH,
    KEYS_PATH,
    MODELS_PATH,
    STORE_PATH,
)
from llmservice_contract.source import Claim
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import access, limits, names
from llmservice_operator.resources.platform import Platform

INSPECTION_CACHE, INSPECTION_SCRATCH = "1Gi", "256Mi"
"""Sizes of the volumes of a pod that reads configuration files alone."""


def engine_volumes(service: str, spec: LLMServiceSpec, platform: Platform, rank: int = 0) -> list[dict[str, Any]]:
    """Volumes of an engine's pod. /dev/shm is memory, in a size that the engine's processes need to talk. Ranks above 0
    see no requests, so they get no keys."""
    size = limits.shared_memory(spec)
    shared = {"name": names.SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": size}}
    claimed = names.CACHE_VOLUME if spec.cache is not None else ""
    written = _written(spec, limits.cache(spec, platform), limits.scratch(spec, platform))
    own = [volume for volume in written if volume["name"] != claimed]
    return [*own, shared, *_group_secret(spec), *(_access_volumes(service, spec) if rank == 0 else [])]


def engine_claims(service: str, spec: LLMServiceSpec, rank: int = 0) -> dict[str, Any]:
    """Fields of the StatefulSet that give each replica a disk of its own; empty where it has none.

    A claim goes with the service, and stays for the replica of the same number when that is scaled down.
    """
    if spec.cache is None:
        return {}
    stated = {"storageClassName": spec.cache.storage_class_name} if spec.cache.storage_class_name else {}
    claim = {
        "metadata": {"name": names.CACHE_VOLUME, "labels": names.labels(service, names.component_of_rank(rank))},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            **stated,
            "resources": {"requests": {"storage": str(spec.cache.size)}},
        },
    }
    return {
        "volumeClaimTemplates": [claim],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
    }


def engine_mounts(spec: LLMServiceSpec, rank: int = 0) -> list[dict[str, Any]]:
    """Mounts of the engine's container."""
    shared = {"name": names.SHARED_MEMORY_VOLUME, "mountPath": "/dev/shm"}  # noqa: S108
    places = {names.ACCESS_VOLUME: ACCESS_PATH, names.KEYS_VOLUME: KEYS_PATH, names.STORE_VOLUME: STORE_PATH}
    read = [
        {"name": volume["name"], "mountPath": places[volume["name"]], "readOnly": True}
        for volume in (_access_volumes("", spec) if rank == 0 else [])
    ]
    secret = {"name": names.GROUP_SECRET_VOLUME, "mountPath": GROUP_SECRET_PATH, "readOnly": True}
    return [*inspection_mounts(spec), shared, *([secret] if spec.parallelism.secret_ref is not None else []), *read]


def inspection_volumes(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Volumes of a pod that only reads the model's configuration."""
    return _written(spec, INSPECTION_CACHE, INSPECTION_SCRATCH)


def _written(spec: LLMServiceSpec, cache: str | None, scratch: str | None) -> list[dict[str, Any]]:
    """The model, and what a pod writes on its node's disk: each volume of at most that size, where one is given."""
    source = spec.model.parsed_source
    sizes = {names.CACHE_VOLUME: cache, names.SCRATCH_VOLUME: scratch}
    return [
        *([_claim(source)] if isinstance(source, Claim) else []),
        *({"name": name, "emptyDir": {"sizeLimit": size} if size else {}} for name, size in sizes.items()),
    ]


def _claim(source: Claim) -> dict[str, Any]:
    claim = {"claimName": source.name, "readOnly": True}
    return {"name": names.MODEL_VOLUME, "persistentVolumeClaim": claim}


def inspection_mounts(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Mounts of the inspection's container."""
    model = {"name": names.MODEL_VOLUME, "mountPath": MODELS_PATH, "readOnly": True}
    return [
        *([model] if isinstance(spec.model.parsed_source, Claim) else []),
        {"name": names.CACHE_VOLUME, "mountPath": names.CACHE_PATH},
        {"name": names.SCRATCH_VOLUME, "mountPath": "/tmp"},  # noqa: S108
    ]


def _group_secret(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """No pod starts without it: one that did would join whoever asks."""
    if spec.parallelism.secret_ref is None:
        return []
    key = {"key": GROUP_SECRET_KEY, "path": GROUP_SECRET_KEY}
    secret = {"secretName": spec.parallelism.secret_ref.name, "items": [key]}
    return [{"name": names.GROUP_SECRET_VOLUME, "secret": secret}]


def _access_volumes(service: str, spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """What is read anew while the engine runs: whole directories, as the kubelet brings no change to a subPath.

    A Secret may be missing: without keys the engine runs and refuses all requests, and a store without its login is one
    that does not answer.
    """
    secrets = {names.KEYS_VOLUME: access.keys_secret(spec), names.STORE_VOLUME: access.store_secret(spec)}
    return [
        {"name": names.ACCESS_VOLUME, "configMap": {"name": access.name(service, spec)}},
        *(
            {"name": volume, "secret": {"secretName": secret, "optional": True}}
            for volume, secret in secrets.items()
            if secret is not None
        ),
    ]
