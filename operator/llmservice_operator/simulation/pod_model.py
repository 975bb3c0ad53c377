"""A model of a pod during its lifetime, as JSON of the API server.

Existing pods are used as they are. A new pod is assumed to become ready once it has a node: whether the engine really
starts can't be simulated.
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
"""How long a new pod loads. The real time does not affect any decision, as long as the pod becomes ready."""
DRAINS_IN = datetime.timedelta(seconds=2)
"""How long a deleted pod that answers requests takes to terminate."""

Json = dict[str, Any]


@dataclasses.dataclass
class Pod:
    """One pod."""

    json: Json
    will_become_ready: bool = True
    """Whether it becomes ready by itself."""
    since: datetime.datetime | None = None
    """Since when it has everything that it needs to become ready."""
    gone_at: datetime.datetime | None = None
    """When it is gone; None if it was not deleted."""

    @functools.cached_property
    def name(self) -> str:
        """Its name."""
        return pods.name(self.json)

    @functools.cached_property
    def number(self) -> int:
        """The number of its replica."""
        return pods.ordinal(self.json)

    @functools.cached_property
    def rank(self) -> int:
        """Its rank in the replica."""
        return pods.rank(self.json)

    @functools.cached_property
    def uid(self) -> str:
        """Its uid."""
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
        """Whether it answers requests and is not being deleted."""
        return pods.ready(self.json) and self.bound and not self.going

    @functools.cached_property
    def devices(self) -> int:
        """Number of extended resources that it requests."""
        return capacity.Need.of(self.json).count

    def own(self, owner: Object | None) -> None:
        """Sets its controller: a StatefulSet, or none."""
        self.json["metadata"]["ownerReferences"] = [] if owner is None else [_reference(owner)]

    def delete(self, now: datetime.datetime) -> bool:
        """Deletes it. Returns whether that is a change."""
        if self.going:
            return False
        self.gone_at = now + (DRAINS_IN if self.ready else datetime.timedelta())
        self.json["metadata"]["deletionTimestamp"] = timestamps.show(now)
        return True

    def bind(self, node: str, now: datetime.datetime) -> None:
        """Schedules it on a node and starts its container."""
        self.json["spec"]["nodeName"] = node
        self._set_condition("PodScheduled", "True", now)
        self._run(now, ready=False)

    def refuse(self, said: str, now: datetime.datetime) -> bool:
        """Marks it as unschedulable. Returns whether that is a change."""
        before = pods.condition(self.json, "PodScheduled")
        if (before.get("reason"), before.get("message")) == ("Unschedulable", said):
            return False
        self._set_condition("PodScheduled", "False", now, reason="Unschedulable", message=said)
        return True

    def admit(self, gates: list[Any], values: Json) -> None:
        """Removes its scheduling gate, as the operator does."""
        meta, spec = self.json["metadata"], self.json["spec"]
        meta["annotations"] = {**(meta.get("annotations") or {}), **values}
        spec["schedulingGates"] = gates
        if not gates:
            del spec["schedulingGates"]

    def set_ready(self, now: datetime.datetime, *, ready: bool) -> None:
        """Makes it ready or not ready."""
        self._set_condition("Ready", str(ready), now)
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

    def _set_condition(self, kind: str, status: str, now: datetime.datetime, **more: str) -> None:
        conditions = self.json["status"].setdefault("conditions", [])
        conditions[:] = [each for each in conditions if each["type"] != kind]
        conditions.append({"type": kind, "status": status, "lastTransitionTime": timestamps.show(now), **more})


def made(owner: Object, number: int, template: Object, revision: str, uid: str, now: datetime.datetime) -> Pod:
    """A new pod of the StatefulSet ``owner`` with this revision of its template."""
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
        pod._set_condition("PodScheduled", "False", now, reason="SchedulingGated")
    return pod


def found(json: Object, now: datetime.datetime, *, will_become_ready: bool) -> Pod:
    """An existing pod."""
    pod = Pod(copy.deepcopy(dict(json)), will_become_ready=will_become_ready)
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


def can_become_ready(json: Object) -> bool:
    """Whether an existing pod can be expected to become ready: its container has not failed."""
    engine = pods.container(json)
    waits = ((engine.get("state") or {}).get("waiting") or {}).get("reason", "ContainerCreating")
    failed = (engine.get("state") or {}).get("terminated") or (engine.get("lastState") or {}).get("terminated")
    over = (json.get("status") or {}).get("phase") == "Failed"
    return pods.ready(json) or not (over or failed or waits not in ("ContainerCreating", "PodInitializing"))
