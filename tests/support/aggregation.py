"""The metrics API of an operator that a test runs as a process: the objects by which the API server finds it, as the
chart makes them. There is one such API in a cluster, so no two tests can have it at the same time.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmservice_operator.autoscaling import external_metrics
from support.cache import CACHE
from support.cluster import ROOT, Cluster, wait_until

LOCAL_CLUSTER = Path(os.environ.get("LLMSERVICE_CLUSTER") or CACHE / "cluster")
FAMILIES = LOCAL_CLUSTER / "families"
"""A file of the local cluster: ipv4, ipv6 or dual."""
ONLY_IPV6 = FAMILIES.is_file() and FAMILIES.read_text().strip() == "ipv6"
NODE_ADDRESS = "fd00:88::1" if ONLY_IPV6 else "10.88.0.1"
"""This machine, as the API server of the local cluster and its pods reach it."""
PORT = 18443
SERVICE = "metrics-api"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
FAKE_NODE = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}],
}
"""Scheduling on kwok's nodes, where pods are ready at once."""
SETTINGS = {
    "LLMSERVICE_SCALING_ADAPTER": "own",
    "LLMSERVICE_METRICS_API_SERVICE": SERVICE,
    "LLMSERVICE_METRICS_API_PORT": str(PORT),
    "LLMSERVICE_POD_IP": NODE_ADDRESS,
    "LLMSERVICE_METRICS_API_ENDPOINTS": "true",
}
"""Settings of an operator that serves it."""


@contextlib.contextmanager
def registered(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The APIService and its Service in ``namespace``, which the operator uses as its own; deleted afterwards, as an
    APIService without a server keeps every namespace of the cluster from being deleted."""
    service = {"metadata": {"name": SERVICE}, "spec": {"ports": [{"name": "https", "port": 443, "targetPort": PORT}]}}
    made = cluster.request("POST", f"/api/v1/namespaces/{namespace}/services", service)
    assert made.ok, made.message
    registration: dict[str, Any] = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": external_metrics.API_SERVICE},
        "spec": {
            "group": external_metrics.API_GROUP,
            "version": external_metrics.API_VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": namespace, "name": SERVICE, "port": 443},
        },
    }
    made = cluster.request("POST", APISERVICES, registration)
    assert made.ok, f"{external_metrics.API_GROUP} is in use: {made.message}"
    try:
        yield
    finally:
        cluster.request("DELETE", f"{APISERVICES}/{external_metrics.API_SERVICE}")


def ensure_fake_nodes(cluster: Cluster, count: int = 3) -> None:
    """Have at least so many of kwok's nodes."""

    def nodes() -> int:
        return len(cluster.request("GET", "/api/v1/nodes", labelSelector="type=kwok").body["items"])

    if nodes() < count:
        subprocess.run([ROOT / "hack" / "cluster" / "kwok", "up", str(count)], check=True, timeout=300)
        wait_until(lambda: nodes() >= count, f"{count} fake nodes")
