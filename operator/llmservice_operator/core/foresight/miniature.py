"""The cluster in miniature: what is observed of one service, and everybody who works on it, second by second.

Each look of the operator is the planner's own, carried out as it is in the cluster. Seconds in which nobody can do
anything are left out, so that a timeout of the planner's costs nothing to wait for.
"""

import copy
import datetime
from collections.abc import Iterator

from llmservice_contract.inspection import ModelFacts
from llmservice_operator.core import drift, pods
from llmservice_operator.core.foresight import merging, podlife
from llmservice_operator.core.foresight.diary import Diary
from llmservice_operator.core.foresight.places import Ground, Places
from llmservice_operator.core.foresight.podlife import Json, Pod
from llmservice_operator.core.foresight.sets import Controller, Pods
from llmservice_operator.core.observed import NodeCapacity, NodeHealth, Object, Observed
from llmservice_operator.core.plan import Plan
from llmservice_operator.core.planner import plan
from llmservice_operator.core.rollout.record import Record
from llmservice_operator.render import names

QUIET_SECONDS = 900
"""Longer than anything is waited for once pods have their nodes; after so long without news there is no more."""
MOST_TICKS = 5000

SECOND = datetime.timedelta(seconds=1)


class Endless(Exception):
    """It comes to no end."""


class Miniature:
    """One service and what is around it."""

    def __init__(
        self, observed: Observed, ground: Ground, *, facts: ModelFacts | None = None, before_1_37: bool = False
    ) -> None:
        self.now = observed.now
        self.platform = observed.platform
        self.service: Json = copy.deepcopy(dict(observed.service))
        self.children: dict[tuple[str, str], Json] = {}
        self.pods: Pods = {}
        self.others: list[Json] = []
        """Pods that are no engines: of Jobs that read a model."""
        self.asked: dict[tuple[str, str], Json] = {}
        """What the operator wants to be there, by the last plan for the spec that is asked for."""
        self.refused = ""
        """What a quota said against the last pod that was to be made; empty where it said nothing since."""
        self.released: set[str] = set()
        """StatefulSets that were deleted, so that their pods stay, and made anew."""
        self.ways: list[str] = []
        """In which way replicas are replaced, and why, as the planner chose it, and chose again."""
        self.disks_made: list[str] = []
        self.disks_deleted: list[str] = []
        self._facts = facts or ModelFacts()
        self._applied: dict[tuple[str, str], Json] = {}
        self._left: dict[tuple[str, str], Json] = {}
        self._news = 0
        self._asked_back = 1.0
        self._uids = 0
        self._controller = Controller(self.pods, self._may_be_made, self._note, before_1_37=before_1_37)
        for child in observed.children:
            self._keep(copy.deepcopy(dict(child)))
            self._applied[child["kind"], pods.name(child)] = merging.as_applied(child)
            if child["kind"] == "StatefulSet":
                self._controller.learn(self.children["StatefulSet", pods.name(child)])
        for each in observed.pods:
            self._take(each)
        self._places = Places(ground, self._json_pods())
        self.diary = Diary(self.ready, self.devices, len(self.pods))

    # What a person does.

    def change(self, spec: Object, annotations: Object | None = None) -> None:
        """Another spec, and annotations that are set."""
        meta = self.service["metadata"]
        self.service["spec"] = copy.deepcopy(dict(spec))
        meta["generation"] = int(meta.get("generation") or 0) + 1
        if annotations is not None:
            meta["annotations"] = dict(annotations)
        self.diary = Diary(self.ready, self.devices, len(self.pods))
        self.ways.clear()

    # What is there.

    @property
    def ready(self) -> int:
        """Replicas that answer."""
        return sum(pod.ready for (rank, _), pod in self.pods.items() if rank == 0)

    @property
    def devices(self) -> int:
        """Devices that pods with a node hold."""
        return sum(pod.devices for pod in self.pods.values() if pod.bound)

    @property
    def wanted(self) -> int:
        """Replicas that are asked for."""
        return int((self.service.get("spec") or {}).get("replicas", 0) or 0)

    @property
    def replicas(self) -> int:
        """Replicas that are there."""
        return len({number for _, number in self.pods})

    @property
    def record(self) -> Record | None:
        """What the rollout remembers."""
        found = self.children.get(("StatefulSet", names.engine_statefulset(self.service["metadata"]["name"])))
        return Record.of(found) if found is not None else None

    def condition(self, kind: str) -> Json:
        """A condition of the service; empty where it has none of that type."""
        told = (self.service.get("status") or {}).get("conditions") or ()
        return next((dict(each) for each in told if each["type"] == kind), {})

    # Time.

    def run(self) -> None:
        """Until nothing happens any more. Raises Endless."""
        quiet = 0.0
        for _ in range(MOST_TICKS):
            before = self._news
            self._tick()
            if self._news != before:
                quiet = 0
                self.now += SECOND
                continue
            step = self._until_next()
            quiet += step.total_seconds()
            self.now += step
            if quiet > QUIET_SECONDS:
                return
        raise Endless(f"no end after {MOST_TICKS} steps: {self.condition('Ready').get('message', '')}")

    def _tick(self) -> None:
        for actor in (self._operator, self._autoscaler, self._controllers, self._jobs, self._scheduler, self._kubelet):
            actor()
            self.diary.sample(self.ready, self.devices, len(self.pods))

    def _until_next(self) -> datetime.timedelta:
        times = [self.now + datetime.timedelta(seconds=self._asked_back)]
        for pod in self.pods.values():
            if pod.gone_at is not None:
                times.append(pod.gone_at)
            elif pod.since is not None and not pod.ready:
                times.append(pod.since + podlife.LOADS_IN)
        return max(SECOND, min(times) - self.now)

    # Who works.

    def _operator(self) -> None:
        made = plan(self._observe(None))
        if made.needs_nodes and not self._places.blind:
            made = plan(self._observe(self._places.nodes(self._json_pods())))
        self._asked_back = min(float(QUIET_SECONDS), max(1.0, made.requeue_after or QUIET_SECONDS))
        for release in made.releases:
            self._news += 1
            self._left[release.kind, release.name] = self.children.pop((release.kind, release.name))
            self.released.add(release.name)
            for pod in self.pods.values():
                if (pods.controller(pod.json) or {}).get("name") == release.name:
                    pod.own(None)
        for desired in made.objects:
            self._apply(desired)
        self._write_down(made)
        for gone in made.deletions:
            self._delete(gone.kind, gone.uid)
        for admission in made.admissions:
            for pod in self.pods.values():
                if pod.uid == admission.uid:
                    pod.admit([dict(gate) for gate in admission.gates], dict(admission.values))
                    self._news += 1
        for annotation in made.annotations:
            for pod in self.pods.values():
                if pod.uid == annotation.uid:
                    meta = pod.json["metadata"]
                    meta["annotations"] = {**(meta.get("annotations") or {}), **annotation.values}
        if made.replicas is not None:
            self._scale(made.replicas)
        if made.status is not None and made.status != self.service.get("status"):
            self.service["status"] = made.status
            self._news += 1

    def _write_down(self, made: Plan) -> None:
        record = self.record
        if made.objects and (record is None or record.failure is None):
            self.asked = {(each["kind"], pods.name(each)): dict(each) for each in made.objects if each["kind"] != "Job"}
        if record is not None and record.strategy is not None:
            way = f"{record.strategy}, {record.why}"
            self.ways += [way] if way not in self.ways else []

    def _apply(self, desired: Object) -> None:
        key = desired["kind"], pods.name(desired)
        before = self.children.get(key)
        if before is not None and not drift.differs(desired, before):
            return
        self._news += 1
        if before is None:
            self._uids += 1
            left = self._left.pop(key, None)  # the API server sets the same defaults once more
            found = dict(desired) if left is None else merging.applied(left, self._applied.get(key), desired)
            found = copy.deepcopy({field: value for field, value in found.items() if field != "status"})
            found["metadata"] |= {"uid": f"foreseen-{desired['kind']}-{self._uids}", "generation": 1}
        else:
            found = copy.deepcopy(merging.applied(before, self._applied.get(key), desired))
            changed = found.get("spec") != before.get("spec")
            found["metadata"]["generation"] = int(before["metadata"].get("generation") or 0) + changed
        self._applied[key] = dict(desired)
        self._keep(found)

    def _delete(self, kind: str, uid: str) -> None:
        for pod in self.pods.values():
            if pod.uid == uid and not pod.going:
                self._note("deleted", pod)
                pod.delete(self.now)
                self._news += 1
        for key, child in list(self.children.items()):
            if child["metadata"].get("uid") == uid:
                del self.children[key]
                self._news += 1
                if kind == "PersistentVolumeClaim":
                    self.disks_deleted.append(key[1])

    def _autoscaler(self) -> None:
        """It keeps to its bounds; what it makes of the load nobody can foresee."""
        hpa = next((each for (kind, _), each in self.children.items() if kind == "HorizontalPodAutoscaler"), None)
        if hpa is None or self.wanted == 0 or not (self.service.get("status") or {}).get("selector"):
            return
        bounded = min(max(self.wanted, int(hpa["spec"].get("minReplicas") or 1)), int(hpa["spec"]["maxReplicas"]))
        if bounded != self.wanted:
            self._scale(bounded)

    def _scale(self, count: int) -> None:
        if self.service["spec"].get("replicas") != count:
            self.service["spec"]["replicas"] = count
            self.service["metadata"]["generation"] = int(self.service["metadata"].get("generation") or 0) + 1
            self._news += 1

    def _controllers(self) -> None:
        self.refused = ""
        owner = self.service["metadata"]["name"]
        for rank in sorted({rank for rank, _ in self.pods} | set(range(len(self._sets())))):
            live = self.children.get(("StatefulSet", names.engine_statefulset(owner, rank)))
            if live is not None:
                self._news += self._controller.sync(live, self.now)
                continue
            for (of, _), pod in self.pods.items():
                if of == rank and pods.controller(pod.json) is not None and not pod.going:
                    self._note("deleted", pod)
                    self._news += pod.delete(self.now)

    def _jobs(self) -> None:
        """A Job that reads a model finds what is known of it: nothing that speaks against the spec, if nothing is."""
        there = {pods.controller(pod)["uid"] for pod in self.others if pods.controller(pod)}  # type: ignore[index]
        for (kind, name), job in list(self.children.items()):
            if kind != "Job" or job["metadata"]["uid"] in there:
                continue
            self._news += 1
            ended = {"exitCode": 0, "message": self._facts.to_json()}
            reference = {"kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
            template = job["spec"]["template"]
            meta = {**template["metadata"], "name": f"{name}-x", "namespace": job["metadata"]["namespace"]}
            status = {"containerStatuses": [{"name": names.INSPECTION_CONTAINER, "state": {"terminated": ended}}]}
            meta |= {"uid": f"{name}-x", "ownerReferences": [reference]}
            self.others.append({"metadata": meta, "spec": template["spec"], "status": status})

    def _scheduler(self) -> None:
        for pod in sorted(self.pods.values(), key=lambda pod: str(pod.json["metadata"].get("creationTimestamp"))):
            if pod.bound or pod.going or pods.gated(pod.json):
                continue
            node, said = self._places.choose(pod.json, self._json_pods())
            if node is not None:
                pod.bind(node, self.now)
                self._news += 1
            else:
                self._news += pod.refuse(said, self.now)

    def _kubelet(self) -> None:
        for key, pod in list(self.pods.items()):
            if pod.gone_at is not None and pod.gone_at <= self.now:
                del self.pods[key]
                self._news += 1
        for pod in self.pods.values():
            if pod.going or not pod.hopeful:
                continue
            whole = pod.bound and self._is_whole(pod)
            pod.since = (pod.since or self.now) if whole else None
            ready = pod.ready if whole else False
            if pod.since is not None and self.now - pod.since >= podlife.LOADS_IN:
                ready = True
            if ready != pod.ready:
                pod.set_ready(self.now, ready=ready)
                self._news += 1

    def _is_whole(self, pod: Pod) -> bool:
        """Whether all that its replica consists of has nodes, and is of one revision."""
        nodes = pods.nodes(pod.json)
        group = [found for rank in range(nodes) if (found := self.pods.get((rank, pod.number))) is not None]
        alike = {(pods.nodes(each.json), *pods.environments(each.json)) for each in group}
        return len(group) == nodes and len(alike) == 1 and all(each.bound and not each.going for each in group)

    # How it is told.

    def _observe(self, nodes: list[NodeCapacity] | None) -> Observed:
        there = [*self._json_pods(), *self.others]
        health = NodeHealth(1, {})
        children = tuple(self.children.values())
        return Observed(self.service, children, there, nodes, self.platform, self.now, health=health)

    def _json_pods(self) -> list[Json]:
        return [pod.json for pod in self.pods.values()]

    def _sets(self) -> list[str]:
        return [name for kind, name in self.children if kind == "StatefulSet"]

    def _keep(self, child: Json) -> None:
        self.children[child["kind"], pods.name(child)] = child

    def _take(self, json: Object) -> None:
        if pods.component(json) in (names.ENGINE_COMPONENT, names.RANK_COMPONENT):
            pod = podlife.found(json, self.now, hopeful=podlife.is_hopeful(json))
            self.pods[pod.rank, pod.number] = pod
        else:
            self.others.append(copy.deepcopy(dict(json)))

    def _may_be_made(self, json: Json) -> bool:
        said = self._places.forbids(json, self._json_pods())
        self.refused = self.refused or said
        return not said

    def _note(self, what: str, pod: Pod) -> None:
        record = self.record
        surplus = pod.number >= self.wanted and record is not None and record.surge > 0
        back = record is not None and record.failure is not None
        self.diary.note(what, pod, self.now, surplus=surplus, back=back)
        for claim in self._claims(pod) if what == "made" else ():
            key = "PersistentVolumeClaim", claim
            if key not in self.children:
                self.disks_made.append(claim)
                meta = {"name": claim, "namespace": pod.json["metadata"]["namespace"], "uid": f"foreseen-{claim}"}
                self._keep({"apiVersion": "v1", "kind": key[0], "metadata": meta})

    def _claims(self, pod: Pod) -> Iterator[str]:
        return (claim for claim in pods.claims(pod.json) if claim.endswith(f"-{pod.name}"))
