"""What the specs of all rendered pods share: the Pod Security Standard "restricted", with a read-only root."""

from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources.platform import Platform

USER_ID = 65532
"""Numeric, so that the kubelet can see that it is not root; the images use the same."""


def pod_security(*, owns_disks: bool = False) -> dict[str, Any]:
    """The pod's ``securityContext``; disks of its own become its user's."""
    disks = {"fsGroup": USER_ID, "fsGroupChangePolicy": "OnRootMismatch"} if owns_disks else {}
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
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


def pod_base(spec: LLMServiceSpec, platform: Platform, *, owns_disks: bool = False) -> dict[str, Any]:
    """Fields of a pod spec that hold for every pod: restricted, without a token, pulled as the platform says."""
    pull = [{"name": name} for name in platform.image_pull_secrets]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": spec.service_account_name} if spec.service_account_name else {}),
        "securityContext": pod_security(owns_disks=owns_disks),
        **({"imagePullSecrets": pull} if pull else {}),
    }
