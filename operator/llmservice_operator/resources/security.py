"""Security contexts: every rendered pod meets the Pod Security Standard "restricted", with a read-only root."""

from typing import Any

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
