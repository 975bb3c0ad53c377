"""Common parts of all rendered pod specs: the Pod Security Standard "restricted", with a read-only root file system."""

from collections.abc import Mapping
from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import devices
from llmservice_operator.resources.platform import Platform

USER_ID = 65532
"""Numeric, so that the kubelet can verify that it is not root. The images use the same id."""


def pod_security(*, fixed_user: bool, owns_disks: bool = False) -> dict[str, Any]:
    """The pod's ``securityContext``. With ``owns_disks`` the volumes are made writable for its user. Without
    ``fixed_user`` the admission of the cluster adds user and groups."""
    disks = {"fsGroup": USER_ID, "fsGroupChangePolicy": "OnRootMismatch"} if owns_disks else {}
    user = {"runAsUser": USER_ID, "runAsGroup": USER_ID}
    if not fixed_user:
        disks.pop("fsGroup", None)
    return {
        "runAsNonRoot": True,
        **(user if fixed_user else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
        **disks,
    }


def container_security() -> dict[str, Any]:
    """The container's ``securityContext``."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod_metadata(
    spec: LLMServiceSpec, platform: Platform, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The metadata of a pod template: what the spec and the platform add, and the operator's own, which have
    precedence. The spec's value of a key has precedence over the platform's."""
    marks = {**platform.pod_annotations, **(spec.pod.annotations or {}), **(annotations or {})}
    return {
        "labels": {**platform.pod_labels, **(spec.pod.labels or {}), **labels},
        **({"annotations": marks} if marks else {}),
    }


def image(spec: LLMServiceSpec, platform: Platform) -> str:
    """Image of the engine and of the inspection."""
    return spec.pod.image or devices.image(spec.accelerator, platform)


def pod_base(spec: LLMServiceSpec, platform: Platform, *, owns_disks: bool = False) -> dict[str, Any]:
    """Common fields of all pod specs: restricted, without a token, with the pull secrets of platform and spec."""
    pull = [
        {"name": name} for name in dict.fromkeys((*platform.image_pull_secrets, *(spec.pod.image_pull_secrets or ())))
    ]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": spec.service_account_name} if spec.service_account_name else {}),
        "securityContext": pod_security(fixed_user=platform.fixed_user, owns_disks=owns_disks),
        **({"imagePullSecrets": pull} if pull else {}),
    }
