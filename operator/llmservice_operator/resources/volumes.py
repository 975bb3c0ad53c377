"""Volumes of the pods and their mount paths: the model, and the only places that a container can write to."""

from typing import Any

from llmservice_contract.container import (
    ACCESS_PATH,
    ADAPTERS_PATH,
    CHAT_TEMPLATE_FILE,
    CHAT_TEMPLATE_PATH,
    GROUP_SECRET_KEY,
    GROUP_SECRET_PATH,
    KEYS_PATH,
    MODELS_PATH,
    STORE_PATH,
)
from llmservice_contract.source import Claim
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import access, adapters, limits, names
from llmservice_operator.resources.platform import Platform

INSPECTION_CACHE, INSPECTION_SCRATCH = "1Gi", "256Mi"
"""Sizes of the volumes of a pod that reads configuration files alone."""


def engine_volumes(service: str, spec: LLMServiceSpec, platform: Platform, rank: int = 0) -> list[dict[str, Any]]:
    """Volumes of an engine pod. /dev/shm is memory for the communication of its processes. Workers receive no requests,
    so they get no keys."""
    size = limits.shared_memory(spec)
    shared = {"name": names.SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": size}}
    claimed = names.CACHE_VOLUME if spec.cache is not None else ""
    written = _written(spec, limits.cache(spec, platform), limits.scratch(spec, platform))
    own = [volume for volume in written if volume["name"] != claimed]
    return [*own, shared, *_group_secret(spec), *(_of_server(service, spec) if rank == 0 else [])]


def engine_claims(service: str, spec: LLMServiceSpec, rank: int = 0) -> dict[str, Any]:
    """The claim templates of the StatefulSet for a cache volume of each replica; empty without one.

    Claims are deleted with the service, and kept for a replica of the same number when the service is scaled down.
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
    places = {
        names.ACCESS_VOLUME: ACCESS_PATH,
        names.ADAPTERS_VOLUME: ADAPTERS_PATH,
        names.KEYS_VOLUME: KEYS_PATH,
        names.STORE_VOLUME: STORE_PATH,
        names.CHAT_TEMPLATE_VOLUME: CHAT_TEMPLATE_PATH,
    }
    read = [
        {"name": volume["name"], "mountPath": places[volume["name"]], "readOnly": True}
        for volume in (_of_server("", spec) if rank == 0 else [])
    ]
    secret = {"name": names.GROUP_SECRET_VOLUME, "mountPath": GROUP_SECRET_PATH, "readOnly": True}
    return [*inspection_mounts(spec), shared, *([secret] if spec.parallelism.secret_ref is not None else []), *read]


def inspection_volumes(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Volumes of an inspection pod."""
    return _written(spec, INSPECTION_CACHE, INSPECTION_SCRATCH)


def _written(spec: LLMServiceSpec, cache: str | None, scratch: str | None) -> list[dict[str, Any]]:
    """The model, and the volumes on the node's disk with their maximum sizes, if any."""
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
    """Mounts of the inspection container."""
    model = {"name": names.MODEL_VOLUME, "mountPath": MODELS_PATH, "readOnly": True}
    return [
        *([model] if isinstance(spec.model.parsed_source, Claim) else []),
        {"name": names.CACHE_VOLUME, "mountPath": names.CACHE_PATH},
        {"name": names.SCRATCH_VOLUME, "mountPath": "/tmp"},  # noqa: S108
    ]


def _group_secret(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """The Secret is required: a pod without it would join any other pod."""
    if spec.parallelism.secret_ref is None:
        return []
    key = {"key": GROUP_SECRET_KEY, "path": GROUP_SECRET_KEY}
    secret = {"secretName": spec.parallelism.secret_ref.name, "items": [key]}
    return [{"name": names.GROUP_SECRET_VOLUME, "secret": secret}]


def _of_server(service: str, spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Volumes of the pod with the HTTP server."""
    return [*_access_volumes(service, spec), *_adapters(service, spec), *_chat_template(spec)]


def _adapters(service: str, spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """The list of adapters, which a running engine reloads."""
    if not adapters.has_adapters(spec):
        return []
    return [{"name": names.ADAPTERS_VOLUME, "configMap": {"name": names.adapters(service)}}]


def _chat_template(spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """No pod starts without it: one that did would answer chats by another template, or not at all."""
    reference = spec.engine.chat_template.config_map_ref if spec.engine.chat_template is not None else None
    if reference is None:
        return []
    items = [{"key": reference.key, "path": CHAT_TEMPLATE_FILE}]
    return [{"name": names.CHAT_TEMPLATE_VOLUME, "configMap": {"name": reference.name, "items": items}}]


def _access_volumes(service: str, spec: LLMServiceSpec) -> list[dict[str, Any]]:
    """Volumes that a running engine reloads: whole directories, because the kubelet does not update a subPath.

    The Secrets are optional: without keys the engine refuses all requests, and a store without its login counts as one
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
