"""A pod from its making to its end, in the API server's JSON.

Pods that are there are taken as they are. Of a new one it is assumed that it gets ready once it has its node: whether
the engine starts is nothing that can be foreseen here.
"""

import copy
import dataclasses
import datetime
import functools
from typing import Any

from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.planner.model import capacity, pods, timestamps
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import names

LOADS_IN = datetime.timedelta(seconds=3)
"""How long a new pod takes; how long it really takes decides nothing, as long as it gets ready."""
DRAINS_IN = datetime.timedelta(seconds=2)
"""How long one that answers goes on once it is deleted."""

Json = dict[str, Any]


@dataclasses.dataclass
class Pod:
    """One pod."""

    json: Json
    hopeful: bool = True
    """Whether it gets ready by itself."""
    since: datetime.datetime | None = None
    """Since when it has all that it needs to get ready."""
    gone_at: datetime.datetime | None = None
    """When it is gone; None while nobody has deleted it."""

    @functools.cached_property
    def name(self) -> str:
        """Its name."""
        return pods.name(self.json)

    @functools.cached_property
    def number(self) -> int:
        """Its replica's number."""
        return pods.ordinal(self.json)

    @functools.cached_property
    def rank(self) -> int:
        """Which one of its replica's pods it is."""
        return pods.rank(self.json)

    @functools.cached_property
    def uid(self) -> str:
        """Its identity."""
        return str(self.json["metadata"]["uid"])

    @property
    def going(self) -> bool:
        """Whether it is being deleted."""
        return self.gone_at is not None

    @property
    def bound(self) -> bool:
        """Whether it has a node."""
        return pods.bound(self.json)

    @property
    def ready(self) -> bool:
        """Whether it answers, and is not on its way out."""
        return pods.ready(self.json) and self.bound and not self.going

    @functools.cached_property
    def devices(self) -> int:
        """Extended resources that it takes."""
        return capacity.Need.of(self.json).count

    def own(self, owner: Object | None) -> None:
        """It belongs to this StatefulSet now, or to none."""
        self.json["metadata"]["ownerReferences"] = [] if owner is None else [_reference(owner)]

    def delete(self, now: datetime.datetime) -> bool:
        """Somebody deletes it. Whether that is news."""
        if self.going:
            return False
        self.gone_at = now + (DRAINS_IN if self.ready else datetime.timedelta())
        self.json["metadata"]["deletionTimestamp"] = timestamps.show(now)
        return True

    def bind(self, node: str, now: datetime.datetime) -> None:
        """The scheduler gives it a node, and its container starts."""
        self.json["spec"]["nodeName"] = node
        self._tell("PodScheduled", "True", now)
        self._run(now, ready=False)

    def refuse(self, said: str, now: datetime.datetime) -> bool:
        """The scheduler finds no node. Whether that is news."""
        before = pods.condition(self.json, "PodScheduled")
        if (before.get("reason"), before.get("message")) == ("Unschedulable", said):
            return False
        self._tell("PodScheduled", "False", now, reason="Unschedulable", message=said)
        return True

    def admit(self, gates: list[Any], values: Json) -> None:
        """The operator takes its scheduling gate away."""
        meta, spec = self.json["metadata"], self.json["spec"]
        meta["annotations"] = {**(meta.get("annotations") or {}), **values}
        spec["schedulingGates"] = gates
        if not gates:
            del spec["schedulingGates"]

    def set_ready(self, now: datetime.datetime, *, ready: bool) -> None:
        """It answers from now on, or no more."""
        self._tell("Ready", str(ready), now)
        self._run(now, ready=ready)

    def _run(self, now: datetime.datetime, *, ready: bool) -> None:
        status = self.json["status"]
        before = pods.container(self.json)
        started = (before.get("state") or {}).get("running") or {"startedAt": timestamps.show(now)}
        status["phase"] = "Running"
        status["containerStatuses"] = [
            {
                "name": ENGINE_CONTAINER,
                "restartCount": 0,
                "state": {"running": started},
                "started": ready,
                "ready": ready,
            }
        ]

    def _tell(self, kind: str, status: str, now: datetime.datetime, **more: str) -> None:
        told = self.json["status"].setdefault("conditions", [])
        told[:] = [each for each in told if each["type"] != kind]
        told.append({"type": kind, "status": status, "lastTransitionTime": timestamps.show(now), **more})


def made(owner: Object, number: int, template: Object, revision: str, uid: str, now: datetime.datetime) -> Pod:
    """A new pod of the StatefulSet ``owner``, of this revision of its template."""
    meta, spec = copy.deepcopy(dict(template["metadata"])), copy.deepcopy(dict(template["spec"]))
    name = f"{owner['metadata']['name']}-{number}"
    labels = {**(meta.get("labels") or {}), names.REVISION_LABEL: revision, names.POD_INDEX_LABEL: str(number)}
    claims = [claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates") or ()]
    volumes = [volume for volume in spec.get("volumes") or () if volume["name"] not in claims]
    disks = [{"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}} for claim in claims]
    spec["volumes"] = [*volumes, *disks]
    json: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **meta,
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "uid": uid,
            "creationTimestamp": timestamps.show(now),
            "labels": labels,
            "ownerReferences": [_reference(owner)],
        },
        "spec": spec,
        "status": {"phase": "Pending", "conditions": []},
    }
    pod = Pod(json)
    if pods.gated(json):
        pod._tell("PodScheduled", "False", now, reason="SchedulingGated")
    return pod


def found(json: Object, now: datetime.datetime, *, hopeful: bool) -> Pod:
    """A pod that is there."""
    pod = Pod(copy.deepcopy(dict(json)), hopeful=hopeful)
    pod.json.setdefault("status", {})
    if pods.terminating(json):
        pod.gone_at = now + DRAINS_IN
    return pod


def _reference(owner: Object) -> Json:
    meta = owner["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def is_hopeful(json: Object) -> bool:
    """Whether a pod that is there can be expected to get ready: it has not failed at what it tries again and again."""
    engine = pods.container(json)
    waits = ((engine.get("state") or {}).get("waiting") or {}).get("reason", "ContainerCreating")
    failed = (engine.get("state") or {}).get("terminated") or (engine.get("lastState") or {}).get("terminated")
    over = (json.get("status") or {}).get("phase") == "Failed"
    return pods.ready(json) or not (over or failed or waits not in ("ContainerCreating", "PodInitializing"))
