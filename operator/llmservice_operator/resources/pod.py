"""Common parts of all rendered pod specs: the Pod Security Standard "restricted", with a read-only root file system."""

from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources.platform import Platform

USER_ID = 65532
"""Numeric, so that the kubelet can verify that it is not root. The images use the same id."""


def pod_security(*, owns_disks: bool = False) -> dict[str, Any]:
    """The pod's ``securityContext``. With ``owns_disks`` the volumes are made writable for its user."""
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
    """Common fields of all pod specs: restricted, without a token, with the platform's pull secrets."""
    pull = [{"name": name} for name in platform.image_pull_secrets]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": spec.service_account_name} if spec.service_account_name else {}),
        "securityContext": pod_security(owns_disks=owns_disks),
        **({"imagePullSecrets": pull} if pull else {}),
    }
