"""Fake nodes that stop answering: the test acts as the kubelet, once."""

from __future__ import annotations

import datetime

from support.cluster import MERGE, Cluster
from support.rollouts import Rolled

MARKED_WITHIN = 90.0
"""Seconds that Kubernetes takes to see that a node has stopped."""


def play_kubelet(rolled: Rolled) -> None:
    """The pod has started and is ready."""
    (pod,) = rolled.pods()
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    engine = {"name": "engine", "image": "x", "imageID": "", "ready": True, "started": True, "restartCount": 0}
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": now}]
    status = {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": [engine | {"state": {"running": {"startedAt": now}}}],
    }
    path = f"/api/v1/namespaces/{rolled.namespace}/pods/{pod['metadata']['name']}/status"
    answer = rolled.cluster.request("PATCH", path, {"status": status}, content_type=MERGE)
    assert answer.ok, answer.message


def unready(cluster: Cluster, node: str) -> bool:
    """Whether Kubernetes has seen that the node does not answer."""
    status = cluster.request("GET", f"/api/v1/nodes/{node}").body["status"]
    return any(each["type"] == "Ready" and each["status"] != "True" for each in status["conditions"])
