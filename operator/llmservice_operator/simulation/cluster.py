"""A simulated cluster with one service, and models of all controllers except the operator.

Each method of a controller does what that controller of Kubernetes does for the service, once per call.
"""

import copy
import dataclasses
import datetime
from collections.abc import Callable, Iterator

from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts
from llmservice_operator.planner.diagnosis import admission
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object, Observed, ObservedEvent
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.resources import names
from llmservice_operator.simulation import pod_model
from llmservice_operator.simulation.children import Children
from llmservice_operator.simulation.mounts import MountModel
from llmservice_operator.simulation.pod_model import Json, Pod
from llmservice_operator.simulation.scheduler import ClusterCapacity, SchedulerModel
from llmservice_operator.simulation.statefulset_controller import Controller, Pods
from llmservice_operator.simulation.timeline import Timeline


class SimulatedCluster:
    """The service, its children and pods, and the controllers that act on them."""

    def __init__(
        self, observed: Observed, ground: ClusterCapacity, *, facts: ModelFacts | None = None, before_1_37: bool = False
    ) -> None:
        self.now: datetime.datetime = observed.now
        self.service: Json = copy.deepcopy(dict(observed.service))
        self.children = Children(observed.children)
        self.pods: Pods = {}
        self.others: list[Json] = []
        """Pods that are not engines: those of inspection Jobs."""
        self.refusals: list[ObservedEvent] = []
        """Events of the StatefulSet controller, at its last sync, about pods that it could not create."""
        self._attach_failures: dict[str, ObservedEvent] = {}
        """By pod: see ``attach_failures``."""
        self.disks_made: list[str] = []
        self._facts = facts or ModelFacts()
        self.changes = 0
        """Number of changes by anyone."""
        self._controller = Controller(self.pods, self._may_be_made, self.note, before_1_37=before_1_37)
        for each in self.children.of_kind("StatefulSet"):
            self._controller.learn(each)
        for pod in observed.pods:
            self._take(pod)
        self._mounts = MountModel(observed.access_modes)
        self.places = SchedulerModel(ground, self.json_pods(), self._mounts)
        self.timeline = Timeline(self.ready, self.devices, len(self.pods))

    @property
    def ready(self) -> int:
        """Replicas that answer requests."""
        return sum(pod.ready for (rank, _), pod in self.pods.items() if rank == 0)

    @property
    def devices(self) -> int:
        """Devices held by pods with a node."""
        return sum(pod.devices for pod in self.pods.values() if pod.bound)

    @property
    def wanted(self) -> int:
        """Desired replicas."""
        return int((self.service.get("spec") or {}).get("replicas", 0) or 0)

    @property
    def replicas(self) -> int:
        """Existing replicas."""
        return len({number for _, number in self.pods})

    @property
    def record(self) -> Record | None:
        """The record of the rollout."""
        found = self._set(0)
        return Record.of(found) if found is not None else None

    @property
    def refused(self) -> Finding | None:
        """Why a missing pod can't be created; None if no pod is rejected."""
        found = (admission.judge(each.note) for each in self.refusals)
        return next((each for each in found if each is not None), None)

    def condition(self, kind: str) -> Json:
        """A condition of the service; empty if it has none of that type."""
        conditions = (self.service.get("status") or {}).get("conditions") or ()
        return next((dict(each) for each in conditions if each["type"] == kind), {})

    @property
    def attach_failures(self) -> list[ObservedEvent]:
        """Events about bound pods whose volume is mounted on another node. They are reported again and again."""
        return [dataclasses.replace(event, time=self.now) for event in self._attach_failures.values()]

    # Controllers.

    @property
    def controllers(self) -> tuple[Callable[[], None], ...]:
        """All controllers except the operator, in the order of their turns."""
        return self._autoscaler, self._controllers, self._jobs, self._scheduler, self._kubelet

    def _autoscaler(self) -> None:
        """The HPA applies its bounds. The load can't be simulated."""
        hpa = next(iter(self.children.of_kind("HorizontalPodAutoscaler")), None)
        if hpa is None or self.wanted == 0 or not (self.service.get("status") or {}).get("selector"):
            return
        bounded = min(max(self.wanted, int(hpa["spec"].get("minReplicas") or 1)), int(hpa["spec"]["maxReplicas"]))
        if bounded != self.wanted:
            self.scale(bounded)

    def scale(self, count: int) -> None:
        """Writes the replica count."""
        if self.service["spec"].get("replicas") != count:
            self.service["spec"]["replicas"] = count
            self.service["metadata"]["generation"] = int(self.service["metadata"].get("generation") or 0) + 1
            self.changes += 1

    def _controllers(self) -> None:
        self.refusals.clear()
        for rank in sorted({rank for rank, _ in self.pods} | set(range(len(self.children.of_kind("StatefulSet"))))):
            live = self._set(rank)
            if live is not None:
                self.changes += self._controller.sync(live, self.now)
                continue
            for (of, _), pod in self.pods.items():
                if of == rank and pods.controller(pod.json) is not None and not pod.going:
                    self.note("deleted", pod)
                    self.changes += pod.delete(self.now)

    def _jobs(self) -> None:
        """Finishes inspection Jobs with the known facts. Without facts they find nothing that contradicts the spec."""
        there = {(pods.controller(pod) or {}).get("uid") for pod in self.others}
        for job in self.children.of_kind("Job"):
            if job["metadata"]["uid"] not in there:
                self.changes += 1
                self.others.append(_ended(job, self._facts))

    def _scheduler(self) -> None:
        waiting = [pod for pod in self.pods.values() if not pod.bound and not pod.going and not pods.gated(pod.json)]
        for pod in sorted(waiting, key=lambda pod: str(pod.json["metadata"].get("creationTimestamp"))):
            node, said = self.places.choose(pod.json, self.json_pods())
            if node is not None:
                pod.bind(node, self.now)
                self.changes += 1
                if self._mounts_volumes(pod):
                    pod.start(self.now)
            else:
                self.changes += pod.refuse(said, self.now)

    def _kubelet(self) -> None:
        for key, pod in list(self.pods.items()):
            if pod.gone_at is not None and pod.gone_at <= self.now:
                del self.pods[key]
                self._attach_failures.pop(pod.name, None)
                self.changes += 1
        for pod in self.pods.values():
            if (pod.ready and pod.nodes == 1) or pod.going or not pod.will_become_ready:
                continue
            whole = pod.bound and self._is_whole(pod) and self._mounts_volumes(pod)
            pod.since = (pod.since or self.now) if whole else None
            ready = pod.ready if whole else False
            if pod.since is not None and self.now - pod.since >= pod_model.LOADS_IN:
                ready = True
            if ready != pod.ready:
                pod.set_ready(self.now, ready=ready)
                self.changes += 1

    def _mounts_volumes(self, pod: Pod) -> bool:
        """Whether its volumes are mounted, or can be mounted now."""
        found = None if pod.has_mounted else self._mounts.in_the_way(pod, list(self.pods.values()))
        if found is None:
            pod.has_mounted = True
            if self._attach_failures.pop(pod.name, None) is not None:
                pod.start(self.now)
                self.changes += 1
        elif pod.name not in self._attach_failures:
            claim, other = found
            note = f'Multi-Attach error for volume "{claim}" Volume is already used by pod(s) {other.name}'
            event = ObservedEvent("Pod", pod.name, pod.uid, "FailedAttachVolume", note, self.now)
            self._attach_failures[pod.name] = event
            self.changes += 1
        return pod.has_mounted

    def _is_whole(self, pod: Pod) -> bool:
        """Whether all pods of the replica exist, have nodes, and have the same revision."""
        nodes = pod.nodes
        if nodes == 1:
            return pod.bound and not pod.going
        group = [found for rank in range(nodes) if (found := self.pods.get((rank, pod.number))) is not None]
        alike = {(each.nodes, *pods.environments(each.json)) for each in group}
        return len(group) == nodes and len(alike) == 1 and all(each.bound and not each.going for each in group)

    # Observations.

    def json_pods(self) -> list[Object]:
        """The engine pods as JSON of the API server."""
        return [pod.parsed for pod in self.pods.values()]

    def _set(self, rank: int) -> Json | None:
        return self.children.get("StatefulSet", names.engine_statefulset(self.service["metadata"]["name"], rank))

    def _take(self, json: Object) -> None:
        if pods.component(json) in (names.ENGINE_COMPONENT, names.RANK_COMPONENT):
            pod = pod_model.found(json, self.now, will_become_ready=pod_model.can_become_ready(json))
            self.pods[pod.rank, pod.number] = pod
        else:
            self.others.append(copy.deepcopy(dict(json)))

    def _may_be_made(self, json: Json) -> bool:
        said = self.places.forbids(json, self.json_pods())
        if said:
            name, owner = pods.name(json), pods.controller(json) or {}
            note = f'Error creating: pods "{name}" is forbidden: {said}'
            self.refusals.append(ObservedEvent("StatefulSet", str(owner["name"]), "", "FailedCreate", note, self.now))
        return not said

    def note(self, what: str, pod: Pod) -> None:
        """Records that a pod is created or deleted."""
        record = self.record
        surplus = pod.number >= self.wanted and record is not None and record.surge > 0
        back = record is not None and record.failure is not None
        self.timeline.note(what, pod, self.now, surplus=surplus, back=back)
        for claim in self._claims(pod) if what == "made" else ():
            if self.children.get("PersistentVolumeClaim", claim) is None:
                self.disks_made.append(claim)
                meta = {"name": claim, "namespace": pod.json["metadata"]["namespace"], "uid": f"simulated-{claim}"}
                self.children.keep({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta})

    def _claims(self, pod: Pod) -> Iterator[str]:
        return (claim for claim in pods.claims(pod.json) if claim.endswith(f"-{pod.name}"))


def _ended(job: Json, facts: ModelFacts) -> Json:
    """The pod of a finished inspection Job."""
    meta, template = job["metadata"], job["spec"]["template"]
    ended = {"exitCode": 0, "message": facts.to_json()}
    reference = {"kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
    own = {"name": f"{meta['name']}-x", "namespace": meta["namespace"], "uid": f"{meta['uid']}-x"}
    status = {"containerStatuses": [{"name": names.INSPECTION_CONTAINER, "state": {"terminated": ended}}]}
    return {
        "metadata": {**template["metadata"], **own, "ownerReferences": [reference]},
        "spec": template["spec"],
        "status": status,
    }
