"""The pods of a simulated cluster: how their engines start, and how the API server shows them."""

import dataclasses
import datetime
from typing import Any

from builders.observed import NOON
from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.resources import names

Json = dict[str, Any]
GPU = "nvidia.com/gpu"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an engine starts."""

    loads_in: int = 5
    """Seconds until it is ready."""
    pulls_in: int = 0
    """Seconds before that in which its node pulls the image."""
    crashes: bool = False
    """Whether it ends by itself then instead, each time."""
    says: str = "boom"
    """Its termination message."""
    until: int | None = None
    """When it stops to crash, or its image can be pulled; None for never."""
    not_pulled: str = ""
    """What the kubelet says about its image until then."""
    drains_in: int = 2
    """Seconds from its deletion until it is gone, once it was ready."""

    def troubled(self, now: int) -> bool:
        """Whether it does not start now."""
        return (self.crashes or bool(self.not_pulled)) and (self.until is None or now < self.until)


@dataclasses.dataclass
class Pod:
    """One pod, as its node and the scheduler have it."""

    number: int
    revision: str
    template: Json
    uid: str
    made: int
    bound: bool = False
    bound_at: int | None = None
    started: int | None = None
    ready_at: int | None = None
    ends: int = 0
    gone_at: int | None = None
    grace: int = 0
    """Seconds from its deletion to ``gone_at``."""
    owned: bool = True
    disks: tuple[str, ...] = ()
    """Claims that it was made with."""
    rank: int = 0
    admitted: str | None = None
    """Annotations that were set when its gate was removed; None if it never had a gate, or still has it."""

    @property
    def gated(self) -> bool:
        """Whether the scheduler does not look at it."""
        return bool(self.template["spec"].get("schedulingGates")) and self.admitted is None

    @property
    def nodes(self) -> int:
        """Pods that its replica consists of."""
        return int(self.template["metadata"]["labels"].get(names.NODES_LABEL, 1))

    @property
    def environment(self) -> str:
        """The ConfigMap that it has its environment from."""
        return str(self.template["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"])

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self.ready_at is not None and self.gone_at is None


def as_json(pod: Pod, outcome: Outcome, now: int) -> Json:
    """The pod as the API server has it."""
    name = names.engine_statefulset("chat", pod.rank)
    owner = {"kind": "StatefulSet", "name": name, "uid": f"uid-{name}-statefulset", "controller": True}
    meta: Json = {
        "name": f"{name}-{pod.number}",
        "namespace": "team-a",
        "uid": pod.uid,
        "creationTimestamp": _time(pod.made),
        "labels": {**pod.template["metadata"]["labels"], names.REVISION_LABEL: pod.revision},
        "ownerReferences": [owner] if pod.owned else [],
        "annotations": {names.ADMITTED_ANNOTATION: pod.admitted} if pod.admitted is not None else {},
    }
    if pod.gone_at is not None:
        meta["deletionTimestamp"] = _time(pod.gone_at)
        meta["deletionGracePeriodSeconds"] = pod.grace
    claims = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-chat"}} for name in pod.disks]
    volumes = [volume for volume in pod.template["spec"]["volumes"] if volume["name"] not in pod.disks]
    spec = {**pod.template["spec"], "volumes": [*volumes, *claims], **({"nodeName": "gpu-0"} if pod.bound else {})}
    if not pod.gated:
        spec.pop("schedulingGates", None)
    conditions: list[Json] = [{"type": "PodScheduled", "status": "True"}]
    if pod.bound_at is not None:
        conditions[0]["lastTransitionTime"] = _time(pod.bound_at)
    if pod.gated:
        conditions = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]
        conditions[0]["lastTransitionTime"] = _time(pod.made)
    elif not pod.bound:
        said = f"0/1 nodes are available: 1 Insufficient {GPU}."
        conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}]
        conditions[0]["lastTransitionTime"] = _time(pod.made)
    changed = pod.ready_at if pod.ready_at is not None else pod.made
    conditions.append({"type": "Ready", "status": str(pod.ready), "lastTransitionTime": _time(changed)})
    status: Json = {"phase": "Running" if pod.bound else "Pending", "conditions": conditions}
    if pod.started is not None:
        engine: Json = {
            "name": ENGINE_CONTAINER,
            "restartCount": pod.ends,
            "started": pod.ready,
            "ready": pod.ready,
        }
        ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": outcome.says}}
        if pod.ends:
            engine["lastState"] = ended
        waits = pod.started > now
        why = "CrashLoopBackOff" if pod.ends else "ContainerCreating"
        engine["state"] = {"waiting": {"reason": why}} if waits else _running(pod.started)
        if outcome.not_pulled and outcome.troubled(now) and not pod.ready:
            engine["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": outcome.not_pulled}}
        status["containerStatuses"] = [engine]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def _running(since: int) -> Json:
    return {"running": {"startedAt": _time(since)}}


def _time(seconds: int) -> str:
    return (NOON + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
