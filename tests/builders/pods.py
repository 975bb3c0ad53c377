"""Pods of an engine for tests, as the API server's JSON has them: `a_pod("chat-0").on_node().ready()`.

Builders are immutable: each step returns a new one.
"""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from llmservice_operator.resources import names

Json = dict[str, Any]

STARTED = "2026-01-01T12:00:00Z"


@dataclasses.dataclass(frozen=True)
class PodBuilder:
    """A pod in the making."""

    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]
    container: str = "engine"
    conditions: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    container_status: Mapping[str, Any] | None = None
    status: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def of_revision(self, revision: str) -> Self:
        """Made from this revision of its StatefulSet."""
        labels = {**self.metadata["labels"], names.REVISION_LABEL: revision}
        return dataclasses.replace(self, metadata={**self.metadata, "labels": labels})

    def labelled(self, labels: Mapping[str, str]) -> Self:
        """With these labels beside those before."""
        return dataclasses.replace(self, metadata={**self.metadata, "labels": {**self.metadata["labels"], **labels}})

    def using(self, configmap: str) -> Self:
        """Whose environment comes from this ConfigMap."""
        return self._container(envFrom=[{"configMapRef": {"name": configmap}}])

    def asking_for(self, count: int, resource: str = "nvidia.com/gpu", **host: str) -> Self:
        """Which needs this many devices, and these host resources beside them."""
        devices = {resource: str(count)}
        return self._container(resources={"limits": devices, "requests": {**devices, **host}})

    def limited_to(self, memory: str) -> Self:
        """Which may use this much host memory."""
        return self._container(resources={"limits": {"memory": memory}})

    def with_spec(self, **fields: Any) -> Self:
        """With these fields of the pod's spec."""
        return dataclasses.replace(self, spec={**self.spec, **fields})

    def mounting(self, *configmaps: str) -> Self:
        """With these ConfigMaps as volumes."""
        return self.with_spec(volumes=[{"name": name, "configMap": {"name": name}} for name in configmaps])

    def annotated(self, annotations: Mapping[str, str]) -> Self:
        """With these annotations."""
        return dataclasses.replace(self, metadata={**self.metadata, "annotations": dict(annotations)})

    def on_node(self, node: str = "gpu-0") -> Self:
        """Bound to a node."""
        return self.with_spec(nodeName=node)._condition("PodScheduled", status="True")

    def unschedulable(self, message: str = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.") -> Self:
        """Which the scheduler finds no node for."""
        return self._condition("PodScheduled", status="False", reason="Unschedulable", message=message)

    def gated(self) -> Self:
        """Which a gate keeps from the scheduler."""
        return self._condition("PodScheduled", status="False", reason="SchedulingGated", message="gated")

    def waiting(self, reason: str, message: str = "") -> Self:
        """On a node, where its container waits for this reason."""
        state = {"waiting": {"reason": reason, "message": message}}
        return self.on_node()._container_status(state=state, started=False, image="llmservice/runtime:0.3.0")

    def loading(self, since: str = STARTED) -> Self:
        """Whose engine runs and was never ready."""
        return self.on_node()._container_status(state={"running": {"startedAt": since}}, started=False)

    def ready(self) -> Self:
        """Which answers requests."""
        running = self.on_node()._container_status(state={"running": {"startedAt": STARTED}}, started=True, ready=True)
        return running._condition("Ready", status="True")

    def silent(
        self, message: str = "containers with unready status: [engine]", since: str = "2026-01-01T12:10:00Z"
    ) -> Self:
        """Whose engine has started, and which is not ready since then."""
        running = self.on_node()._container_status(state={"running": {"startedAt": STARTED}}, started=True)
        return running._condition("Ready", status="False", message=message, lastTransitionTime=since)

    def ended(self, code: int, message: str = "", reason: str = "Error", **fields: Any) -> Self:
        """Whose container has ended, and is not started again yet."""
        terminated = {"exitCode": code, "reason": reason, "message": message, **fields}
        return self.on_node()._container_status(state={"terminated": terminated}, started=False)

    def ended_before(self, code: int, message: str = "", reason: str = "Error", **fields: Any) -> Self:
        """Whose container has ended once before what it does now."""
        terminated = {"exitCode": code, "reason": reason, "message": message, **fields}
        return self._container_status(lastState={"terminated": terminated}, restartCount=1)

    def evicted(self, message: str = "The node was low on resource: ephemeral-storage.") -> Self:
        """Which its node gave up."""
        return dataclasses.replace(self, status={"phase": "Failed", "reason": "Evicted", "message": message})

    def made_at(self, time: str) -> Self:
        """Made at this time."""
        return dataclasses.replace(self, metadata={**self.metadata, "creationTimestamp": time})

    def claiming(self, claim: str) -> Self:
        """With the volume of this claim."""
        return self.with_spec(volumes=[{"name": "model", "persistentVolumeClaim": {"claimName": claim}}])

    def mounted(self) -> Self:
        """Which has its volumes and its network."""
        return self._condition("PodReadyToStartContainers", status="True")

    def going(self) -> Self:
        """Which is being deleted."""
        return dataclasses.replace(self, metadata={**self.metadata, "deletionTimestamp": STARTED})

    def build(self) -> Json:
        """The pod: a copy of its own."""
        status: Json = {"phase": "Pending", **self.status}
        status["conditions"] = [{"type": kind, **condition} for kind, condition in self.conditions.items()]
        if self.container_status is not None:
            status["containerStatuses"] = [{"name": self.container, **self.container_status}]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": self.metadata, "spec": self.spec, "status": status}
        return copy.deepcopy(pod)

    def _container(self, **fields: Any) -> Self:
        return self.with_spec(containers=[{**self.spec["containers"][0], **fields}])

    def _container_status(self, **fields: Any) -> Self:
        return dataclasses.replace(self, container_status={**(self.container_status or {}), **fields})

    def _condition(self, kind: str, **fields: Any) -> Self:
        return dataclasses.replace(self, conditions={**self.conditions, kind: fields})


def a_pod(name: str = "chat-0", namespace: str = "team-a") -> PodBuilder:
    """A pod of the engine of the service that its name begins with, not scheduled yet."""
    service = name.rpartition("-")[0]
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": service, "uid": f"uid-{service}-set"}
    return PodBuilder(
        metadata={
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "labels": {**names.labels(service, names.ENGINE_COMPONENT), names.REVISION_LABEL: "r1"},
            "ownerReferences": [{**owner, "controller": True}],
        },
        spec={"containers": [{"name": "engine"}]},
    )


def an_inspection_pod(job: Mapping[str, Any]) -> PodBuilder:
    """The pod of an inspection's Job."""
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
    return PodBuilder(
        metadata={
            "name": f"{meta['name']}-x7k2p",
            "namespace": meta["namespace"],
            "uid": f"uid-{meta['name']}-x7k2p",
            "labels": dict(meta["labels"]),
            "ownerReferences": [owner],
        },
        spec={"containers": [{"name": names.INSPECTION_CONTAINER}]},
        container=names.INSPECTION_CONTAINER,
    )
