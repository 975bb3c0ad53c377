"""A model of the StatefulSet controller: which pods it creates, of which revision, and which it deletes.

The StatefulSets here have the pod management policy Parallel. Kubernetes 1.37 changed how several due pods are
replaced; both variants are modelled.
"""

import dataclasses
import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any

from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import noted_good
from llmservice_operator.resources import names
from llmservice_operator.resources.objects import canonical
from llmservice_operator.simulation import pod_model
from llmservice_operator.simulation.pod_model import Json, Pod

Pods = dict[tuple[int, int], Pod]
"""By rank and number."""


@dataclasses.dataclass
class Controller:
    """The StatefulSet controller for all StatefulSets of a service."""

    pods: Pods
    allowed: Callable[[Json], bool]
    """Whether a pod may be created."""
    note: Callable[[str, Pod], None]
    """Records that a pod was created ("made") or deleted."""
    before_1_37: bool = False
    revisions: dict[str, dict[str, Json]] = dataclasses.field(default_factory=dict)
    """Templates by StatefulSet and revision."""
    _owners: dict[str, list[Json]] = dataclasses.field(default_factory=dict)
    """The owner references of pods by the uid of their StatefulSet."""
    _made: int = 0
    _deleted: int = 0
    _templates: dict[str, tuple[Object, str]] = dataclasses.field(default_factory=dict)
    """The last template of each StatefulSet with the name of its revision."""

    def learn(self, live: Object) -> None:
        """Reads the revisions of an existing StatefulSet."""
        status, known = live.get("status") or {}, self.revisions.setdefault(pods.name(live), {})
        newest, current = status.get("updateRevision"), status.get("currentRevision")
        if newest and status.get("observedGeneration") == live["metadata"].get("generation"):
            known[str(newest)] = live["spec"]["template"]
        if current and str(current) not in known and noted_good(live) is not None:
            known[str(current)] = noted_good(live)

    def sync(self, live: Json, now: datetime.datetime) -> bool:
        """Syncs one StatefulSet. Returns whether anything changed."""
        rank = _rank(live)
        before, count, gone = dict(live.get("status") or {}), len(self.pods), self._deleted
        own = {number: pod for (of, number), pod in self.pods.items() if of == rank}
        references = self._owners.setdefault(live["metadata"]["uid"], pod_model.owned_by(live))
        for pod in own.values():
            pod.own(references)
        self._sync(live, rank, own, now)
        return live.get("status") != before or len(self.pods) != count or self._deleted != gone

    def _sync(self, live: Json, rank: int, own: dict[int, Pod], now: datetime.datetime) -> None:
        spec, status = live["spec"], live.setdefault("status", {})
        newest = self._revision(live)
        current = str(status.setdefault("currentRevision", newest))
        size = int(spec.get("replicas", 1))
        strategy = spec.get("updateStrategy") or {}
        partition = None if strategy.get("type") == "OnDelete" else _partition(strategy)
        whole = self._make_missing(live, rank, own, current if partition else newest, newest, now)
        seen = {"observedGeneration": live["metadata"].get("generation"), "updateRevision": newest}
        if not whole:
            live["status"] = status | seen
            return
        for number in sorted((number for number in own if number >= size), reverse=True):
            self._delete(own[number], now)
        live["status"] = status = status | seen | {"replicas": len(own)}
        mine = [own[number] for number in range(size)]
        if len(own) == size and all(pod.revision == newest and pod.ready for pod in mine):
            status["currentRevision"] = newest
        if partition is not None:
            self._update(mine, partition, newest, now)

    def _make_missing(
        self, live: Json, rank: int, own: dict[int, Pod], old: str, newest: str, now: datetime.datetime
    ) -> bool:
        """Creates missing pods in batches of 1, 2, 4, …. Returns False if it has to stop: a pod is forbidden, or an
        existing one lacks a volume."""
        spec = live["spec"]
        size, strategy = int(spec.get("replicas", 1)), spec.get("updateStrategy") or {}
        partition = 0 if strategy.get("type") == "OnDelete" else _partition(strategy)
        disks = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or ()}
        begin, length = 0, 1
        while begin < size:
            batch = range(begin, min(begin + length, size))
            for number in batch:
                if number in own:
                    continue
                revision = old if number < partition else newest
                template = self.revisions[pods.name(live)].get(revision, spec["template"])
                self._made += 1
                pod = pod_model.made(live, number, template, revision, f"simulated-{self._made:05}", now)
                if not self.allowed(pod.json):
                    return False
                own[number] = self.pods[rank, number] = pod
                self.note("made", pod)
            if disks and any(not disks <= pods.claimed_volumes(own[n].parsed) and not own[n].going for n in batch):
                return False
            begin, length = begin + length, 2 * length
        return True

    def _update(self, mine: list[Pod], partition: int, newest: str, now: datetime.datetime) -> None:
        due = mine[partition:][::-1]
        if self.before_1_37:
            for pod in due:
                if pod.revision != newest and not pod.going:
                    self._delete(pod, now)
                    return
                if not pod.ready:
                    return
            return
        unavailable = sum(not pod.ready for pod in mine)
        outdated = [pod for pod in due if pod.revision != newest]
        for pod in outdated:
            if not pod.ready and not pod.going:
                self._delete(pod, now)
        for pod in outdated:
            if unavailable < 1 and pod.ready:
                unavailable += 1
                self._delete(pod, now)

    def _delete(self, pod: Pod, now: datetime.datetime) -> None:
        if not pod.going:
            self.note("deleted", pod)
            self._deleted += pod.delete(now)

    def _revision(self, live: Json) -> str:
        """The name of the template's revision: that of an equal template, or a new one."""
        template = live["spec"]["template"]
        last, name = self._templates.get(pods.name(live), (None, ""))
        if last is not template:  # a child that changes is another object
            name = self._revision_of(pods.name(live), template)
            self._templates[pods.name(live)] = template, name
        return name

    def _revision_of(self, statefulset: str, template: Object) -> str:
        known, text = self.revisions.setdefault(statefulset, {}), canonical(template)
        for name, there in known.items():
            if canonical(there) == text:
                return name
        name = f"{statefulset}-simulated-{len(known)}"
        known[name] = json.loads(text)
        return name


def _partition(strategy: Mapping[str, Any]) -> int:
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def _rank(live: Object) -> int:
    text = str((live["metadata"].get("labels") or {}).get(names.RANK_LABEL) or "")
    selected = (live["spec"].get("selector") or {}).get("matchLabels") or {}
    return int(selected.get(names.RANK_LABEL) or text or 0)
