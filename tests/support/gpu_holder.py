"""A pod of another tenant that uses GPUs of the real node."""

from __future__ import annotations

from support.cluster import wait_until
from support.serving import Serving

HOLDER = "holder"


def real_node(serving: Serving) -> tuple[str, int]:
    """The name of the node that is none of kwok's, and its GPUs."""
    (node,) = serving.cluster.request("GET", "/api/v1/nodes", labelSelector="type!=kwok").body["items"]
    return node["metadata"]["name"], int(node["status"]["allocatable"]["nvidia.com/gpu"])


def hold_gpus(serving: Serving, count: int) -> None:
    """Returns once so many GPUs are held."""
    serving.apply(_holder(count))

    def runs() -> bool:
        found = serving.get("Pod", HOLDER)
        return found is not None and found["status"].get("phase") == "Running"

    wait_until(runs, "the GPUs are held", timeout=60)


def _holder(count: int) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": HOLDER},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "hold",
                    "image": "localhost/llmservice/cluster-addons:1",
                    "imagePullPolicy": "Never",
                    "command": ["sleep", "3600"],
                    "resources": {"limits": {"nvidia.com/gpu": str(count)}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
