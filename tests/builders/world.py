"""A simulated cluster for rollouts: the StatefulSet's controller as Kubernetes has it, a scheduler that counts GPUs,
a kubelet, and the operator's plans applied in between.

The behaviour of a pod follows from the context length in its environment: see `Outcome`. Time is simulated: `tick` is
one second.
"""

import copy
import dataclasses
import datetime
import hashlib
import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from builders.observed import NOON, live
from builders.services import ServiceBuilder, merged
from builders.world_pods import GPU, Json, Outcome, Pod, as_json
from llmservice_operator.planner.model import drift
from llmservice_operator.planner.model.canary_counts import CanaryCounts
from llmservice_operator.planner.model.drift import Path
from llmservice_operator.planner.model.foreign_changes import changed_template_field
from llmservice_operator.planner.model.observed import Input, NodeCapacity, Observed, ObservedEvent, TemplateChange
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.planner.model.replicas_owner import OPERATOR
from llmservice_operator.planner.planner import plan
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import Platform

SECONDS_UNLOOKED = 7
"""The operator reconciles after this many seconds without an event."""


class World:
    """One service on a cluster with so many GPUs. `old_controller`: of Kubernetes before 1.37."""

    def __init__(self, service: ServiceBuilder, gpus: int, *, old_controller: bool = False) -> None:
        given = {"namespace": "team-a", "uid": "uid-chat", "generation": 1}
        self.service: Json = service.with_metadata(**given).build()
        self.gpus = gpus
        self.platform = Platform()
        self.dies_after_release = False
        """Whether the operator is killed each time that it has released pods."""
        self.old_controller = old_controller
        self.now = 0
        self.children: dict[tuple[str, str], Json] = {}
        self.ranks: dict[int, dict[int, Pod]] = {0: {}}
        """Pods by rank and by their replica's number."""
        self.revisions: dict[str, Json] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.controller_works = True
        self.operator_works = True
        self.quota: int | None = None
        """GPUs that pods may ask for altogether; None for any number."""
        self.taken_down: list[tuple[int, int, int]] = []
        """For each replica that a rollout stopped while it answered: when, how many were left, and how many could have
        been asked for to be there: those that have a place, and no more than are wanted."""
        self.never_go: set[int] = set()
        """Replicas whose node confirms no end of a pod."""
        self.releases = 0
        """StatefulSets that were deleted without their pods."""
        self.writes = 0
        """Changes that anybody has made."""
        self.policies: list[Callable[[Json], None]] = []
        """Admission policies: each changes a child whenever the operator writes it."""
        self.child_writes: list[tuple[str, str]] = []
        """Kind and name of each child, in the order in which the operator wrote them."""
        self.editors: dict[tuple[str, str], dict[Path, str]] = {}
        """Field managers besides the operator, by the fields that they have set in a child."""
        self.template_changes: dict[str, list[TemplateChange]] = {}
        self.corrections: dict[tuple[str, str], dict[str, list[datetime.datetime]]] = {}
        self.access_modes: dict[str, frozenset[str]] = {}
        """The access modes of claims. If there are any, a pod starts only if no other pod is there."""
        self.on_second_node = 0
        """GPUs that are on a second node, which has no pods."""
        self.unusable = 0
        """GPUs that nodes report as free although the scheduler places no pod on them."""
        self.refused_for = 0
        """Seconds for which the scheduler finds no node for a new pod, because it does not know yet what is free."""
        self.events: list[ObservedEvent] = []
        """What others report, such as a node autoscaler."""
        self.canaries: Mapping[str, CanaryCounts] | None = {}
        """What the gateway has counted; None if it can't be read."""
        self._refusals: dict[str, ObservedEvent] = {}
        """What the StatefulSets' controller reported last of pods that it could not make, by StatefulSet."""
        self._whole_since: dict[int, int] = {}
        """Since when all that a replica on several nodes consists of runs, by its number."""
        self._asked_back = 0
        """When the operator has asked to be called at the latest."""
        self._looked = 0
        self._seen = b""
        """When it has looked last, and at what."""
        self._made = 0
        self._wanted_before = 0

    # What a user does.

    def change(self, context: int, outcome: Outcome | None = None, **spec: Any) -> None:
        """Another context length, which has engines start in this way."""
        self.outcomes[context] = outcome or Outcome()
        self.edit(**merged({"model": {"maxContextLength": context}}, spec))

    def edit(self, **spec: Any) -> None:
        """Another spec."""
        changed = merged(self.service["spec"], spec)
        if changed != self.service["spec"]:
            self.service["spec"] = changed
            self.service["metadata"]["generation"] += 1

    def edit_child(self, kind: str, name: str, change: Callable[[Json], None], manager: str = "kubectl-edit") -> None:
        """Another client changes a child, if it is not so already."""
        before = self.children[kind, name]
        child = copy.deepcopy(before)
        change(child)
        if child == before:
            return
        child["metadata"]["generation"] += child.get("spec") != before.get("spec")
        owned = self.editors.setdefault((kind, name), {})
        owned |= {each.path: manager for each in drift.differences(child, before)}
        owned |= {each.path: manager for each in drift.differences(before, child)}
        self.children[kind, name] = child
        self.writes += 1

    def crash(self, number: int) -> None:
        """The engine of this replica ends by itself and is started again."""
        pod = self.pods.get(number)
        if pod is not None and pod.bound and pod.gone_at is None:
            pod.ends, pod.started, pod.ready_at = pod.ends + 1, self.now, None

    # What is there.

    @property
    def wanted(self) -> int:
        """Replicas that are asked for."""
        return int(self.service["spec"].get("replicas", 1))

    @property
    def statefulset(self) -> Json:
        """The StatefulSet."""
        return self.children["StatefulSet", "chat"]

    @property
    def pods(self) -> dict[int, Pod]:
        """Pods of rank 0 by number."""
        return self.ranks[0]

    @property
    def all_pods(self) -> list[Pod]:
        """Pods of all ranks."""
        return [pod for pods in self.ranks.values() for pod in pods.values()]

    @property
    def answering(self) -> int:
        """Replicas that answer."""
        return sum(pod.ready for pod in self.pods.values())

    def contexts(self) -> list[int]:
        """The context length of each pod."""
        return [self._context(self.pods[number]) for number in sorted(self.pods)]

    def condition(self, kind: str) -> Json:
        """A condition of the service."""
        found: list[Json] = (self.service.get("status") or {}).get("conditions") or []
        return next((each for each in found if each["type"] == kind), {})

    # Time.

    def run(self, seconds: int) -> None:
        """Let everybody work for so long."""
        for _ in range(seconds):
            self.tick()

    def wait(self, seconds: int) -> None:
        """The same; time in which nothing can happen is left out."""
        end = self.now + seconds
        while self.now < end:
            before = self.writes
            self.tick()
            if self.writes == before:
                self.now = min(end, self.now + self._until_next() - 1)

    def until_quiet(self, most: int = 3000) -> None:
        """Runs until nothing changes for longer than any deadline. Time in which nothing can happen is left
        out."""
        quiet = 0
        for _ in range(most):
            before = self.writes
            self.tick()
            if self.writes != before:
                quiet = 0
                continue
            step = self._until_next()
            quiet += step
            self.now += step - 1
            if quiet > 400:
                return
        raise AssertionError(f"no end: {self.condition('RolledOut')}")

    def tick(self) -> None:
        """One second."""
        if self.operator_works:
            self.operator()
        if self.controller_works:
            self.controller()
        self.scheduler()
        self.kubelet()
        self.now += 1

    # Who works.

    def operator(self) -> None:
        """One look of the operator, carried out: where there is news, where it has asked to be called, and from time to
        time."""
        observed = self.observe(None)
        seen = pickle.dumps(
            (observed.service, observed.children, observed.pods, self.gpus, self.platform, self._refusals)
        )
        if seen == self._seen and self.now < min(self._asked_back, self._looked + SECONDS_UNLOOKED):
            return
        self._seen, self._looked = seen, self.now
        made = plan(observed)
        read = {each.field for each in made.requires} & {"nodes", "events", "access_modes"}
        nodes = self._nodes() if "nodes" in read else None
        events = (*self._refusals.values(), *self.events) if "events" in read else None
        if read:
            modes = self.access_modes if "access_modes" in read else None
            made = plan(dataclasses.replace(self.observe(nodes, events), access_modes=modes))
        if Input.CANARIES in made.requires:
            made = plan(dataclasses.replace(self.observe(nodes, events), canaries=self.canaries))
        if Input.FIELD_OWNERS in made.requires:
            made = plan(dataclasses.replace(self.observe(nodes, events), field_owners=self._owners(made)))
        self._asked_back = self.now + max(1, min(100, int(made.requeue_after or 100)))
        for release in made.releases:
            self.releases += 1
            del self.children[release.kind, release.name]
            self.writes += 1
            for pod in self.all_pods:
                pod.owned &= release.name != names.engine_statefulset("chat", pod.rank)
            if self.dies_after_release:
                return
        for desired in made.objects:
            key = desired["kind"], desired["metadata"]["name"]
            before = self.children.get(key)
            if before is None or (key not in made.accepted and drift.differs(desired, before)):
                self._apply(key, desired, before)
                if key in made.corrected:
                    for field in made.corrected[key]:
                        self.corrections.setdefault(key, {}).setdefault(field, []).append(observed.now)
                elif before is not None and (field := changed_template_field(before, self.children[key])):
                    change = TemplateChange(observed.now, field)
                    self.template_changes.setdefault(key[1], []).append(change)
        for gone in made.deletions:
            self.writes += 1
            self.children = {key: child for key, child in self.children.items() if child["metadata"]["uid"] != gone.uid}
            for pod in self.all_pods:
                if pod.uid == gone.uid:
                    self._take_down(pod)
        for admission in made.admissions:
            self.writes += 1
            for pod in self.all_pods:
                if pod.uid == admission.uid:
                    pod.admitted = admission.values[names.ADMITTED_ANNOTATION]
        if made.replicas is not None:
            self.service["spec"]["replicas"] = made.replicas
        if made.status is not None and made.status != self.service.get("status"):
            self.service["status"] = made.status
            self.writes += 1

    def _apply(self, key: tuple[str, str], desired: Mapping[str, Any], before: Json | None) -> None:
        """As the API server stores it: an apply that changes nothing is no write."""
        written = live(desired, None)
        for policy in self.policies:
            policy(written)
        stored = live(written, before) if before is not None else written
        if before is not None and stored["metadata"]["generation"] == before["metadata"]["generation"]:
            same = {**stored, "status": None} == {**before, "status": None}
            if same:
                return
        if before is not None and key[0] == "StatefulSet":
            for field in ("serviceName", "podManagementPolicy", "selector", "volumeClaimTemplates"):
                assert stored["spec"].get(field) == before["spec"].get(field), f"{field} is immutable"
        for each in drift.differences(stored, before or {}):
            self.editors.get(key, {}).pop(each.path, None)
        self.children[key] = stored
        self.child_writes.append(key)
        self.writes += 1

    def controller(self) -> None:
        """One sync of the StatefulSets' controller."""
        scaled_down = self.wanted < self._wanted_before
        self._wanted_before = self.wanted
        for rank in range(16):
            found = self.children.get(("StatefulSet", names.engine_statefulset("chat", rank)))
            if found is not None:
                self._sync(found, rank, scaled_down)
            for pod in self.ranks.get(rank, {}).values() if found is None and rank else ():
                self._leave(pod)

    def _sync(self, found: Json, rank: int, scaled_down: bool) -> None:
        pods = self.ranks.setdefault(rank, {})
        spec, status = found["spec"], found.setdefault("status", {})
        before = dict(status)
        for pod in pods.values():
            pod.owned = True
        newest = self._revision(spec["template"])
        current = status.setdefault("currentRevision", newest)
        size, rolling = spec["replicas"], spec["updateStrategy"].get("rollingUpdate")
        whole = self._make_missing(found, rank, current, newest)
        if not whole:
            status |= {"observedGeneration": found["metadata"]["generation"], "updateRevision": newest}
            self.writes += status != before
            return
        for number in [number for number in pods if number >= size]:
            (self._leave if scaled_down else self._take_down)(pods[number])
        status |= {"observedGeneration": found["metadata"]["generation"], "updateRevision": newest}
        status["replicas"] = len(pods)
        mine = [pods[number] for number in range(size)]
        if all(pod.revision == newest and pod.ready for pod in mine) and len(pods) == size:
            status["currentRevision"] = newest
        self.writes += status != before
        if rolling is not None:
            self._update(mine[rolling["partition"] :], newest, sum(not pod.ready for pod in mine))

    def _make_missing(self, found: Json, rank: int, current: str, newest: str) -> bool:
        """In batches of 1, 2, 4, …; none after one with a pod that lacks a disk, which can't be put right."""
        spec, pods, name = found["spec"], self.ranks[rank], found["metadata"]["name"]
        size, rolling = spec["replicas"], spec["updateStrategy"].get("rollingUpdate")
        disks = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or ()}
        begin, length = 0, 1
        while begin < size:
            for number in range(begin, min(begin + length, size)):
                if number not in pods:
                    old = rolling is not None and number < rolling["partition"]
                    revision = current if old else newest
                    if said := self._forbids(revision):
                        self._refusals[name] = self._failed_create(name, number, said)
                        return False
                    self._make(number, revision, rank, disks)
            batch = [pods[number] for number in range(begin, min(begin + length, size))]
            if any(not disks <= set(pod.disks) and pod.gone_at is None for pod in batch):
                return False
            begin, length = begin + length, 2 * length
        return True

    def _update(self, due: list[Pod], newest: str, unavailable: int) -> None:
        if self.old_controller:
            for pod in reversed(due):
                if pod.revision != newest and pod.gone_at is None:
                    return self._take_down(pod)
                if not pod.ready:
                    return None
            return None
        for pod in reversed(due):
            if pod.revision != newest and not pod.ready and pod.gone_at is None:
                self._take_down(pod)
        for pod in reversed(due):
            if unavailable < 1 and pod.revision != newest and pod.ready:
                unavailable += 1
                self._take_down(pod)
        return None

    def scheduler(self) -> None:
        """Pods get nodes, in the order in which they were made."""
        for pod in sorted(self.all_pods, key=lambda pod: pod.uid):
            if (
                not pod.bound
                and not pod.gated
                and pod.gone_at is None
                and self.now - pod.made >= self.refused_for
                and self.free - self.unusable >= self._devices(pod)
            ):
                pod.bound, pod.bound_at = True, self.now
                if not self.access_modes:
                    pod.started = self.now + self._outcome(pod).pulls_in
                self.writes += 1

    def kubelet(self) -> None:
        """Engines load, crash, and go."""
        for pod in self.all_pods:
            if pod.gone_at is not None and pod.gone_at <= self.now and pod.number not in self.never_go:
                del self.ranks[pod.rank][pod.number]
                self.writes += 1
        for pod in self.all_pods if self.access_modes else ():
            if pod.bound and pod.started is None and not any(each.started is not None for each in self.all_pods):
                pod.started = self.now
        for pod in self.all_pods:
            if pod.nodes > 1:
                self._follow_group(pod)
            elif pod.started is not None and pod.ready_at is None and pod.gone_at is None:
                outcome = self._outcome(pod)
                if outcome.not_pulled and outcome.troubled(self.now):
                    pod.started = self.now
                elif self.now - pod.started >= outcome.loads_in:
                    self.writes += 1
                    if outcome.troubled(self.now):
                        pod.ends, pod.started = pod.ends + 1, self.now + 10 * pod.ends
                    else:
                        pod.ready_at = self.now

    def _follow_group(self, pod: Pod) -> None:
        """A replica on several nodes answers once all that it consists of runs, and has loaded since."""
        first = self.pods.get(pod.number)
        if first is not None and first.nodes != pod.nodes:
            pod.ready_at = None
            return
        group = [found for rank in range(pod.nodes) if (found := self.ranks.get(rank, {}).get(pod.number)) is not None]
        going = [each for each in group if each.gone_at is not None]
        same = len({each.environment for each in group}) == 1
        if len(group) < pod.nodes or not all(each.bound for each in group) or not same:
            self._whole_since.pop(pod.number, None)
            self.writes += pod.ready
            pod.ready_at = None
            return
        since = self._whole_since.setdefault(pod.number, self.now)
        outcome = self._outcome(group[0])
        ends = since + outcome.loads_in
        if pod.ready_at is not None or going or self.now < ends or pod.ends * 10 + ends > self.now:
            return
        self.writes += 1
        if not outcome.crashes:
            pod.ready_at = self.now
        elif pod.rank == 0:
            pod.ends, pod.started = pod.ends + 1, self.now + 10 * pod.ends
            self._whole_since[pod.number] = pod.started

    @property
    def free(self) -> int:
        """Devices that no pod has."""
        return self.gpus - sum(self._devices(pod) for pod in self.all_pods if pod.bound)

    # How the cluster reports it.

    def observe(self, nodes: list[NodeCapacity] | None, events: tuple[ObservedEvent, ...] | None = None) -> Observed:
        """What the operator observes now."""
        there = sorted(self.all_pods, key=lambda pod: (pod.rank, pod.number))
        pods = [as_json(pod, self._outcome(pod), self.now) for pod in there]
        now = NOON + datetime.timedelta(seconds=self.now)
        children = tuple(self.children.values())
        return Observed(
            self.service,
            children,
            tuple(pods),
            nodes,
            self.platform,
            now,
            events=events,
            template_changes=self.template_changes,
            corrections=self.corrections,
        )

    def _owners(self, made: Plan) -> dict[tuple[str, str], dict[Path, str]]:
        """The owners of changed fields. A policy takes no ownership."""
        return {
            change.key: {
                field.path: self.editors.get(change.key, {}).get(field.path, OPERATOR) for field in change.fields
            }
            for change in made.foreign_changes
        }

    def _nodes(self) -> list[NodeCapacity]:
        first, here = self._node(), self.gpus - self.on_second_node
        if not self.on_second_node:
            return [first]
        used = min(here, first.requested[GPU])
        first = dataclasses.replace(first, allocatable={GPU: here}, requested={GPU: used})
        return [first, NodeCapacity("gpu-1", {}, (), True, False, {GPU: self.on_second_node}, {GPU: 0})]

    def _node(self) -> NodeCapacity:
        used = self.gpus - self.free
        return NodeCapacity("gpu-0", {}, (), True, False, {GPU: self.gpus}, {GPU: used})

    def _make(self, number: int, revision: str, rank: int, disks: Iterable[str]) -> None:
        self._made += 1
        self.writes += 1
        template, uid = self.revisions[revision], f"uid-{self._made:06}"
        pod = Pod(number, revision, template, uid, self.now, disks=tuple(sorted(disks)), rank=rank)
        self._check_mounts(pod)
        self.ranks[rank][number] = pod

    def _forbids(self, revision: str) -> str:
        """What the API server says against a pod of this revision, in its own words; empty if it says nothing."""
        asked = self._asked(self.revisions[revision])
        used = sum(map(self._devices, self.all_pods))
        if self.quota is None or used + asked <= self.quota:
            return ""
        reported = [f"{what}: requests.{GPU}={count}" for what, count in (("requested", asked), ("used", used))]
        return f"exceeded quota: gpus, {', '.join(reported)}, limited: requests.{GPU}={self.quota}"

    def _failed_create(self, name: str, number: int, said: str) -> ObservedEvent:
        pod, now = f"{name}-{number}", NOON + datetime.timedelta(seconds=self.now)
        note = f'create Pod {pod} in StatefulSet {name} failed error: pods "{pod}" is forbidden: {said}'
        return ObservedEvent("StatefulSet", name, "", "FailedCreate", note, now)

    def _check_mounts(self, pod: Pod) -> None:
        """As the API server refuses a pod that mounts what it has not."""
        spec = pod.template["spec"]
        there = {volume["name"] for volume in spec["volumes"]} | set(pod.disks)
        mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        assert mounted <= there, f"chat-{pod.number} mounts {mounted - there}, which it does not have"

    def _take_down(self, pod: Pod) -> None:
        """What a rollout stops, which is what a user would miss."""
        group = [pods[pod.number] for pods in self.ranks.values() if pod.number in pods] if pod.nodes > 1 else [pod]
        if pod.ready and all(each.gone_at is None for each in group):
            placed = sum(map(self._placed, self.pods.values()))
            self.taken_down.append((self.now, self.answering - 1, min(placed, self.wanted)))
        self._leave(pod)

    def _placed(self, first: Pod) -> bool:
        """Whether all of the replica has its nodes."""
        group = [self.ranks.get(rank, {}).get(first.number) for rank in range(first.nodes)]
        return all(pod is not None and pod.bound for pod in group)

    def _leave(self, pod: Pod) -> None:
        if pod.gone_at is None:
            self.writes += 1
            pod.grace = self._outcome(pod).drains_in if pod.ready_at is not None else 0
            pod.gone_at = self.now + pod.grace

    def _revision(self, template: Json) -> str:
        name = "chat-" + hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
        if name not in self.revisions:
            self.revisions[name] = copy.deepcopy(template)
        return name

    def _context(self, pod: Pod) -> int:
        found = self.children.get(("ConfigMap", pod.environment))
        assert found is not None, f"the environment {pod.environment} of chat-{pod.number} is gone"
        return int(found["data"].get("MODEL_MAX_CONTEXT_LENGTH", 0))

    def _outcome(self, pod: Pod) -> Outcome:
        return self.outcomes.get(self._context(pod), Outcome())

    def _devices(self, pod: Pod) -> int:
        return self._asked(pod.template)

    def _asked(self, template: Json) -> int:
        """GPUs that a pod of this template asks for."""
        limits: Mapping[str, str] = template["spec"]["containers"][0]["resources"].get("limits") or {}
        return int(limits.get(GPU, 0))

    def _until_next(self) -> int:
        """Seconds until something can happen by itself."""
        times = [self._asked_back]
        for pod in self.all_pods:
            if pod.gone_at is not None:
                times.append(pod.gone_at)
            elif pod.nodes > 1:
                times += [] if pod.ready or pod.gated else [self.now]
            elif pod.started is not None and pod.ready_at is None:
                times.append(pod.started + self._outcome(pod).loads_in)
        return max(1, min(times) - self.now)
