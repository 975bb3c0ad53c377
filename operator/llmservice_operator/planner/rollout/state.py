"""A StatefulSet and its pods during a rollout."""

import dataclasses
import datetime
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from llmservice_operator.planner import diagnosis
from llmservice_operator.planner.conditions import gang_scheduling, serving
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import noted_good
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons

MOST_GRACE_SECONDS = 86_400
"""Grace periods of deletions are read up to this length."""
HELD_SECONDS = 10
"""How long a pod must be held back, for lack of room or of its replica's other pods, to count as unplaceable."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Replica:
    """What a rollout asks about a replica again and again."""

    pods: tuple[Object, ...]
    """The pod that was asked about, and the workers of its replica."""
    complete: bool
    bound: bool
    answers: bool
    updated: bool


@dataclasses.dataclass(frozen=True)
class RolloutState:
    """The observed state of one service's StatefulSets and pods. Use ``of`` to create it."""

    state: ServiceState
    live: Object
    wanted: int
    """Desired replicas, without a surge."""
    pods: Mapping[int, Object]
    """Leader pods by number, without those that are being deleted."""
    workers: Mapping[int, tuple[Object, ...]]
    """Worker pods, by the number of their replica."""
    ranks: Mapping[int, Object]
    """StatefulSets by rank; rank 0 is the live one."""
    leaving: frozenset[int]
    """Numbers of pods that are being deleted. Their replacements can't be created yet."""

    @classmethod
    def of(cls, state: ServiceState, live: Object) -> "RolloutState":
        """Sorts what was observed."""
        workers: dict[int, tuple[Object, ...]] = {}
        for pod in state.workers:
            number = pods.ordinal(pod)
            workers[number] = (*workers.get(number, ()), pod)
        return cls(
            state=state,
            live=live,
            wanted=state.wanted_replicas,
            pods={pods.ordinal(pod): pod for pod in state.engines},
            workers=workers,
            ranks={0: live, **state.worker_statefulsets},
            leaving=frozenset(pods.ordinal(pod) for pod in state.leaving),
        )

    @property
    def _status(self) -> Mapping[str, Any]:
        return self.live.get("status") or {}

    @property
    def settled(self) -> bool:
        """Whether the StatefulSet controller has observed the current specs, so that the revisions belong to them."""
        return all(
            (each.get("status") or {}).get("observedGeneration") == each["metadata"].get("generation")
            for each in self.ranks.values()
        )

    @property
    def newest(self) -> str:
        """The revision of the StatefulSet's template."""
        return str(self._status.get("updateRevision") or "")

    @property
    def last_good(self) -> str:
        """The last revision with which all replicas were ready, or the first one."""
        return str(self._status.get("currentRevision") or "")

    @functools.cached_property
    def good(self) -> Any:
        """The template before the desired one, if all replicas were ready with it; otherwise None."""
        return noted_good(self.live)

    @property
    def size(self) -> int:
        """The StatefulSet's spec.replicas, including a surge."""
        return int(self.live["spec"].get("replicas", 1))

    @property
    def on_delete(self) -> bool:
        """Whether pods are updated only when they are deleted (update strategy OnDelete)."""
        return bool((self.live["spec"].get("updateStrategy") or {}).get("type") == "OnDelete")

    @property
    def partition(self) -> int:
        """The partition: the StatefulSet controller updates pods from this number on."""
        strategy = self.live["spec"].get("updateStrategy") or {}
        return self.size if self.on_delete else int((strategy.get("rollingUpdate") or {}).get("partition") or 0)

    @property
    def outdated(self) -> list[Object]:
        """Pods of an older revision, by number."""
        return [self.pods[number] for number in sorted(self.pods.keys() - self.updated_replicas)]

    @functools.cached_property
    def answering_replicas(self) -> frozenset[int]:
        """Numbers of the replicas that answer requests."""
        if not self.workers:
            return frozenset(self._of_single_pods[0])
        return frozenset(number for number, pod in self.pods.items() if self.answers(pod))

    @functools.cached_property
    def unready_replicas(self) -> frozenset[int]:
        """Numbers of the replicas that have a pod that is not ready. All others have no problem."""
        return frozenset(map(pods.ordinal, self.state.unready))

    @functools.cached_property
    def updated_replicas(self) -> frozenset[int]:
        """Numbers of the replicas with the newest revision."""
        if not self.workers:
            return frozenset(self._of_single_pods[1])
        return frozenset(number for number, pod in self.pods.items() if self.updated(pod))

    @property
    def without_disk(self) -> list[Object]:
        """Pods, by number, that lack a volume of the StatefulSet's claim templates."""
        disks = {claim["metadata"]["name"] for claim in self.live["spec"].get("volumeClaimTemplates") or ()}
        if not disks:
            return []
        return [pod for _, pod in sorted(self.pods.items()) if not disks <= pods.claimed_volumes(pod)]

    @functools.cached_property
    def ready(self) -> int:
        """Number of replicas that answer requests."""
        return len(self.answering_replicas)

    @functools.cached_property
    def placed(self) -> int:
        """Number of replicas that have nodes for all their pods at the same time, including those that are being
        deleted."""
        leaving = self.leaving - self.pods.keys()
        bound = sum(map(self.bound, self.pods.values())) if self.workers else self._of_single_pods[2]
        return bound + sum(map(self._holds_nodes, leaving))

    @functools.cached_property
    def _of_single_pods(self) -> tuple[list[int], list[int], int]:
        """If there are no workers: the replicas that answer requests, those with the newest revision, and the number of
        those that have a node."""
        newest, answering, updated, placed = self.newest, list[int](), list[int](), 0
        for number, pod in self.pods.items():
            revision, bound, answers = _summary(pod)
            if revision == newest:
                updated.append(number)
            if answers:
                answering.append(number)
            placed += bound
        return answering, updated, placed

    def _holds_nodes(self, number: int) -> bool:
        """Whether a replica that is being deleted still has its nodes. Those of its pods that are already gone may
        serve another replica."""
        leaving = [pod for pod in self.state.leaving if pods.ordinal(pod) == number]
        there = (*leaving, *filter(pods.bound, self.workers.get(number, ())))
        if not all(map(pods.bound, there)):
            return False
        begun = min(map(_deletion_began, leaving))
        return len(there) >= max(map(pods.nodes, there)) or not any(
            at is not None and at >= begun for at in map(bound_at, self.state.members)
        )

    @property
    def missing(self) -> bool:
        """Whether a replica has no pod now."""
        return any(number not in self.pods for number in range(self.wanted))

    @functools.cached_property
    def _replicas(self) -> dict[int, _Replica]:
        """By the identity of the pod that was asked about, which the entry keeps alive."""
        return {}

    def _replica(self, pod: Object) -> _Replica:
        known = self._replicas.get(id(pod))
        if known is None:
            nodes = pods.nodes(pod)
            workers = self.workers.get(pods.ordinal(pod), ()) if self.workers else ()
            group = (pod, *(worker for worker in workers if pods.rank(worker) < nodes))
            complete = len(group) == nodes
            bound = complete and all(map(pods.bound, group))
            known = _Replica(group, complete, bound, bound and pods.ready(pod), all(map(self._is_new, group)))
            self._replicas[id(pod)] = known
        return known

    def group(self, pod: Object) -> tuple[Object, ...]:
        """All pods of this pod's replica."""
        return self._replica(pod).pods

    def complete(self, pod: Object) -> bool:
        """Whether all pods of this pod's replica exist."""
        return self._replica(pod).complete

    def to_replace(self, going: Iterable[Object]) -> list[Object]:
        """Pods to delete with these, so that each replica is replaced as a whole: its outdated pods, otherwise all."""
        found: list[Object] = []
        for pod in going:
            group = self.group(pod)
            found += [each for each in group if not self._is_new(each)] or group
        return found

    def updated(self, pod: Object) -> bool:
        """Whether all pods of this pod's replica have the newest revision."""
        return self._replica(pod).updated

    def _is_new(self, pod: Object) -> bool:
        return pods.revision(pod) == self._newest_of_ranks.get(pods.rank(pod), "")

    @functools.cached_property
    def _newest_of_ranks(self) -> Mapping[int, str]:
        """The revision of each StatefulSet's template, by rank."""
        return {rank: str((each.get("status") or {}).get("updateRevision") or "") for rank, each in self.ranks.items()}

    def answers(self, pod: Object) -> bool:
        """Whether this pod's replica answers requests and all its pods have nodes."""
        return self._replica(pod).answers

    def bound(self, pod: Object) -> bool:
        """Whether all pods of this pod's replica exist and have nodes."""
        return self._replica(pod).bound

    def problem(self, pod: Object) -> diagnosis.Problem | None:
        """The most severe problem of this pod's replica; None if it answers."""
        return serving.most_severe(serving.problem_of(self.state, each) for each in self.group(pod))

    def replaceable(self, pod: Object) -> bool:
        """Whether deleting the pod loses nothing: it does not answer, and can't recover, or has a revision that is
        neither the last good nor the newest one."""
        problem = self.problem(pod) if pods.ordinal(pod) in self.unready_replicas else None
        if problem is None:
            return False
        abandoned = pods.revision(pod) not in (self.last_good, self.newest)
        return abandoned or reasons.of(problem.kind).cannot_recover or self.unplaceable(pod)

    def unplaceable(self, pod: Object) -> bool:
        """Whether no node was found for this pod's replica."""
        return self.unplaceable_since(pod) is not None

    def unplaceable_since(self, pod: Object) -> datetime.datetime | None:
        """Since when a pod of this pod's replica is known to have no suitable node; None if that is not known."""
        unbound = [each for each in self.group(pod) if not pods.bound(each)]
        refused = [_refused_at(each) for each in unbound if pods.refused(each) and not pods.gated(each)]
        held = self._held_since(pod) if any(pods.gated(each) for each in unbound) else None
        return min([*refused, *([held] if held is not None else [])], default=None)

    def undecided(self, pod: Object) -> bool:
        """Whether the pod's gate may still be removed: the replica is not known to have no room."""
        first = self.pods.get(pods.ordinal(pod))
        return pods.gated(pod) and (first is None or not self.unplaceable(first))

    def _held_since(self, pod: Object) -> datetime.datetime | None:
        """Since when this pod's replica is held back for a reason that does not pass by itself."""
        group = gang_scheduling.Group(pods.ordinal(pod), pods.nodes(pod), self.group(pod))
        since = max(map(gang_scheduling.made_at, group.pods))
        if group.whole:
            scheduled = self.state.previous.get("Scheduled", {})
            at = timestamps.parse(scheduled.get("lastTransitionTime"))
            if (
                not reasons.of(str(scheduled.get("reason"))).held_back
                or at is None
                or pod["metadata"]["uid"] in self._admitted
            ):
                return None
            since = max(since, at)
        lasts = (self.state.observed.now - since).total_seconds()
        return since if lasts >= HELD_SECONDS else None

    @functools.cached_property
    def _admitted(self) -> frozenset[str]:
        """Uids of the pods whose gate is removed now."""
        return frozenset(each.uid for each in gang_scheduling.plan_gang(self.state).admissions)


@pods.read_once
def _summary(pod: Object) -> tuple[str, bool, bool]:
    """The revision of a replica without workers, whether it has all its nodes, and whether it answers requests."""
    bound = pods.nodes(pod) == 1 and pods.bound(pod)
    return pods.revision(pod), bound, bound and pods.ready(pod)


def _deletion_began(pod: Object) -> datetime.datetime:
    """When a terminating pod was deleted. Its deletionTimestamp is the end of its grace period."""
    meta = pod["metadata"]
    ends, grace = timestamps.parse(meta["deletionTimestamp"]), meta.get("deletionGracePeriodSeconds")
    ends = ends or datetime.datetime.max.replace(tzinfo=datetime.UTC)
    return ends - datetime.timedelta(seconds=min(grace, MOST_GRACE_SECONDS) if type(grace) is int and grace > 0 else 0)


@pods.read_once
def bound_at(pod: Object) -> datetime.datetime | None:
    """When the pod got its node; None without one or if that is not known."""
    return timestamps.parse(pods.condition(pod, "PodScheduled").get("lastTransitionTime")) if pods.bound(pod) else None


def _refused_at(pod: Object) -> datetime.datetime:
    """When the scheduler first found no node. The condition's time alone may be from before the gate was removed."""
    at, begun = (
        timestamps.parse(pods.condition(pod, "PodScheduled").get("lastTransitionTime")),
        gang_scheduling.admitted_at(pod),
    )
    return begun if at is None else max(at, begun)
