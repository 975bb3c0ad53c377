"""A cluster in miniature for rollouts: the StatefulSet's controller as Kubernetes has it, a scheduler that counts GPUs,
a kubelet, and the operator's own plans carried out between them.

What a pod does follows from the context length that its environment has: see `Outcome`. Nothing waits: `tick` is a
second.
"""

import copy
import datetime
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from builders.observed import NOON, live
from builders.services import ServiceBuilder, merged
from builders.world_pods import GPU, Json, Outcome, Pod, as_json
from llmservice_operator.core import drift
from llmservice_operator.core.observed import NodeCapacity, Observed
from llmservice_operator.core.planner import plan
from llmservice_operator.render.platform import Platform


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
        self.pods: dict[int, Pod] = {}
        self.revisions: dict[str, Json] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.controller_works = True
        self.taken_down: list[tuple[int, int, int]] = []
        """For each replica that a rollout stopped while it answered: when, how many were left, and how many could have
        been asked for to be there: those that have a place, and no more than are wanted."""
        self.writes = 0
        """Changes that anybody has made."""
        self._asked_back = 30
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

    def until_quiet(self, most: int = 3000) -> None:
        """Until nobody does anything for longer than anything is waited for. Time in which nothing can happen is left
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
        self.operator()
        if self.controller_works:
            self.controller()
        self.scheduler()
        self.kubelet()
        self.now += 1

    # Who works.

    def operator(self) -> None:
        """One look of the operator, carried out."""
        made = plan(self._observe(None))
        if made.needs_nodes:
            made = plan(self._observe([self._node()]))
        self._asked_back = max(1, min(30, int(made.requeue_after or 30)))
        for release in made.releases:
            del self.children[release.kind, release.name]
            self.writes += 1
            for pod in self.pods.values():
                pod.owned = False
            if self.dies_after_release:
                return
        for desired in made.objects:
            key = desired["kind"], desired["metadata"]["name"]
            before = self.children.get(key)
            if before is None or drift.differs(desired, before):
                self.children[key] = live(desired, before)
                self.writes += 1
        for gone in made.deletions:
            self.writes += 1
            self.children = {key: child for key, child in self.children.items() if child["metadata"]["uid"] != gone.uid}
            for pod in list(self.pods.values()):
                if pod.uid == gone.uid:
                    self._take_down(pod)
        if made.replicas is not None:
            self.service["spec"]["replicas"] = made.replicas
        if made.status is not None and made.status != self.service.get("status"):
            self.service["status"] = made.status
            self.writes += 1

    def controller(self) -> None:
        """One sync of the StatefulSet's controller."""
        found = self.children.get(("StatefulSet", "chat"))
        if found is None:
            return
        spec, status = found["spec"], found.setdefault("status", {})
        before = dict(status)
        for pod in self.pods.values():
            pod.owned = True
        newest = self._revision(spec["template"])
        current = status.setdefault("currentRevision", newest)
        size, rolling = spec["replicas"], spec["updateStrategy"].get("rollingUpdate")
        whole = self._make_missing(size, current, newest, rolling)
        if not whole:
            status |= {"observedGeneration": found["metadata"]["generation"], "updateRevision": newest}
            self.writes += status != before
            return
        scaled_down = self.wanted < self._wanted_before
        self._wanted_before = self.wanted
        for number in [number for number in self.pods if number >= size]:
            (self._leave if scaled_down else self._take_down)(self.pods[number])
        status |= {"observedGeneration": found["metadata"]["generation"], "updateRevision": newest}
        status["replicas"] = len(self.pods)
        mine = [self.pods[number] for number in range(size)]
        if all(pod.revision == newest and pod.ready for pod in mine) and len(self.pods) == size:
            status["currentRevision"] = newest
        self.writes += status != before
        if rolling is not None:
            self._update(mine[rolling["partition"] :], newest, sum(not pod.ready for pod in mine))

    def _make_missing(self, size: int, current: str, newest: str, rolling: Json | None) -> bool:
        """In batches of 1, 2, 4, …; none after one with a pod that lacks a disk, which can't be put right."""
        disks = {claim["metadata"]["name"] for claim in self.statefulset["spec"].get("volumeClaimTemplates") or ()}
        begin, length = 0, 1
        while begin < size:
            for number in range(begin, min(begin + length, size)):
                if number not in self.pods:
                    old = rolling is not None and number < rolling["partition"]
                    self._make(number, current if old else newest)
            batch = [self.pods[number] for number in range(begin, min(begin + length, size))]
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
        for pod in sorted(self.pods.values(), key=lambda pod: pod.uid):
            if not pod.bound and pod.gone_at is None and self.free >= self._devices(pod):
                pod.bound, pod.started = True, self.now
                self.writes += 1

    def kubelet(self) -> None:
        """Engines load, crash, and go."""
        for pod in list(self.pods.values()):
            if pod.gone_at is not None and pod.gone_at <= self.now:
                del self.pods[pod.number]
                self.writes += 1
            elif pod.started is not None and pod.ready_at is None and pod.gone_at is None:
                outcome = self._outcome(pod)
                if self.now - pod.started >= outcome.loads_in:
                    self.writes += 1
                    if outcome.crashes:
                        pod.ends, pod.started = pod.ends + 1, self.now + 10 * pod.ends
                    else:
                        pod.ready_at = self.now

    @property
    def free(self) -> int:
        """Devices that no pod has."""
        return self.gpus - sum(self._devices(pod) for pod in self.pods.values() if pod.bound)

    # How it is told.

    def _observe(self, nodes: list[NodeCapacity] | None) -> Observed:
        pods = [as_json(self.pods[number], self._outcome(self.pods[number]), self.now) for number in sorted(self.pods)]
        now = NOON + datetime.timedelta(seconds=self.now)
        return Observed(self.service, tuple(self.children.values()), tuple(pods), nodes, self.platform, now)

    def _node(self) -> NodeCapacity:
        used = self.gpus - self.free
        return NodeCapacity("gpu-0", {}, (), True, False, {GPU: self.gpus}, {GPU: used})

    def _make(self, number: int, revision: str) -> None:
        self._made += 1
        pod = Pod(number, revision, self.revisions[revision], f"uid-{self._made:06}", self.now)
        claims = self.statefulset["spec"].get("volumeClaimTemplates") or ()
        pod.disks = tuple(claim["metadata"]["name"] for claim in claims)
        self._check_mounts(pod)
        self.pods[number] = pod

    def _check_mounts(self, pod: Pod) -> None:
        """As the API server refuses a pod that mounts what it has not."""
        spec = pod.template["spec"]
        there = {volume["name"] for volume in spec["volumes"]} | set(pod.disks)
        mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        assert mounted <= there, f"chat-{pod.number} mounts {mounted - there}, which it does not have"

    def _take_down(self, pod: Pod) -> None:
        """What a rollout stops, which is what a user would miss."""
        if pod.ready:
            placed = sum(each.bound for each in self.pods.values())
            self.taken_down.append((self.now, self.answering - 1, min(placed, self.wanted)))
        self._leave(pod)

    def _leave(self, pod: Pod) -> None:
        if pod.gone_at is None:
            self.writes += 1
            pod.gone_at = self.now + (self._outcome(pod).drains_in if pod.ready_at is not None else 0)

    def _revision(self, template: Json) -> str:
        defaulted = copy.deepcopy(template)
        name = "chat-" + hashlib.sha256(json.dumps(defaulted, sort_keys=True).encode()).hexdigest()[:8]
        self.revisions.setdefault(name, defaulted)
        return name

    def _context(self, pod: Pod) -> int:
        source = pod.template["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
        found = self.children.get(("ConfigMap", source))
        assert found is not None, f"the environment {source} of chat-{pod.number} is gone"
        return int(found["data"].get("MAX_CONTEXT_LENGTH", 0))

    def _outcome(self, pod: Pod) -> Outcome:
        return self.outcomes.get(self._context(pod), Outcome())

    def _devices(self, pod: Pod) -> int:
        limits: Mapping[str, str] = pod.template["spec"]["containers"][0]["resources"].get("limits") or {}
        return int(limits.get(GPU, 0))

    def _until_next(self) -> int:
        """Seconds until something can happen by itself."""
        times = [self.now - 1 + self._asked_back]
        for pod in self.pods.values():
            if pod.gone_at is not None:
                times.append(pod.gone_at)
            elif pod.started is not None and pod.ready_at is None:
                times.append(pod.started + self._outcome(pod).loads_in)
        return max(1, min(times) - self.now)
