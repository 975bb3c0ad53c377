"""A model of a pod during its lifetime, as JSON of the API server.

Existing pods are used as they are. A new pod is assumed to become ready once it has a node: whether the engine really
starts can't be simulated.
"""

import copy
import dataclasses
import datetime
import functools
from collections.abc import Mapping
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
    """Changed only here, in place."""
    will_become_ready: bool = True
    """Whether it becomes ready by itself."""
    since: datetime.datetime | None = None
    """Since when it has everything that it needs to become ready."""
    has_mounted: bool = False
    """Whether its volumes are mounted."""
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
    def nodes(self) -> int:
        """Number of pods of its replica."""
        return pods.nodes(self.json)

    @functools.cached_property
    def revision(self) -> str:
        """Its StatefulSet revision."""
        return pods.revision(self.json)

    @functools.cached_property
    def uid(self) -> str:
        """Its uid."""
        return str(self.json["metadata"]["uid"])

    @property
    def going(self) -> bool:
        """Whether it is being deleted."""
        return self.gone_at is not None

    @functools.cached_property
    def bound(self) -> bool:
        """Whether it has a node."""
        return pods.bound(self.json)

    @property
    def node(self) -> str:
        """Its node; empty if it has none."""
        return str(self.json["spec"].get("nodeName") or "")

    @property
    def ready(self) -> bool:
        """Whether it answers requests and is not being deleted."""
        return self._answers and self.gone_at is None

    @functools.cached_property
    def _answers(self) -> bool:
        return self.bound and pods.ready(self.json)

    @functools.cached_property
    def parsed(self) -> pods.ParsedPod:
        """Its JSON as it is now, for plans."""
        return pods.parsed(self.json)

    def _forget(self) -> None:
        """What was read of its JSON, which now changes."""
        for name in ("bound", "_answers", "parsed"):
            self.__dict__.pop(name, None)

    @functools.cached_property
    def devices(self) -> int:
        """Number of extended resources that it requests."""
        return capacity.Need.of(self.json).count

    def own(self, references: list[Json]) -> None:
        """Sets its owner references: those of ``owned_by``, or none."""
        meta = self.json["metadata"]
        there = meta.get("ownerReferences")
        if there is not references:
            if there != references:
                self._forget()
            meta["ownerReferences"] = references

    def delete(self, now: datetime.datetime) -> bool:
        """Deletes it. Returns whether that is a change."""
        if self.going:
            return False
        self.gone_at = now + (DRAINS_IN if self.ready else datetime.timedelta())
        self._forget()
        self.json["metadata"]["deletionTimestamp"] = timestamps.show(now)
        return True

    def bind(self, node: str, now: datetime.datetime) -> None:
        """Schedules it on a node."""
        self.json["spec"]["nodeName"] = node
        self._forget()
        self._set_condition("PodScheduled", "True", now)

    def start(self, now: datetime.datetime) -> None:
        """Starts its container."""
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
        self.annotate(values)
        spec = self.json["spec"]
        spec["schedulingGates"] = gates
        if not gates:
            del spec["schedulingGates"]

    def annotate(self, values: Mapping[str, str]) -> None:
        """Adds annotations."""
        self._forget()
        meta = self.json["metadata"]
        meta["annotations"] = {**(meta.get("annotations") or {}), **values}

    def set_ready(self, now: datetime.datetime, *, ready: bool) -> None:
        """Makes it ready or not ready."""
        self._set_condition("Ready", str(ready), now)
        self._run(now, ready=ready)

    def _run(self, now: datetime.datetime, *, ready: bool) -> None:
        self._forget()
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
        self._forget()
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
            "ownerReferences": owned_by(owner),
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
    state = pods.container(json).get("state") or {}
    pod.has_mounted = pods.ready(json) or "running" in state or "terminated" in state
    if pods.terminating(json):
        pod.gone_at = now + DRAINS_IN
    return pod


def owned_by(owner: Object) -> list[Json]:
    """The owner references of a pod of the StatefulSet ``owner``."""
    meta = owner["metadata"]
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
        }
    ]


def can_become_ready(json: Object) -> bool:
    """Whether an existing pod can be expected to become ready: its container has not failed."""
    engine = pods.container(json)
    waits = ((engine.get("state") or {}).get("waiting") or {}).get("reason", "ContainerCreating")
    failed = (engine.get("state") or {}).get("terminated") or (engine.get("lastState") or {}).get("terminated")
    over = (json.get("status") or {}).get("phase") == "Failed"
    return pods.ready(json) or not (over or failed or waits not in ("ContainerCreating", "PodInitializing"))
