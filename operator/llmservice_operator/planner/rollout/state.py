"""A StatefulSet and its pods during a rollout."""

import dataclasses
import datetime
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmservice_operator.planner import diagnosis
from llmservice_operator.planner.conditions import gang_scheduling, serving
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import noted_good
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons

HELD_SECONDS = 10
"""How long a pod must be held back, for lack of room or of its replica's other pods, to count as unplaceable."""


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
        return cls(
            state=state,
            live=live,
            wanted=state.wanted_replicas,
            pods={pods.ordinal(pod): pod for pod in state.engines},
            workers={
                number: tuple(pod for pod in state.workers if pods.ordinal(pod) == number)
                for number in {pods.ordinal(pod) for pod in state.workers}
            },
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
        return [pod for _, pod in sorted(self.pods.items()) if not self.updated(pod)]

    @property
    def without_disk(self) -> list[Object]:
        """Pods, by number, that lack a volume of the StatefulSet's claim templates."""
        disks = {claim["metadata"]["name"] for claim in self.live["spec"].get("volumeClaimTemplates") or ()}
        return [pod for _, pod in sorted(self.pods.items()) if not disks <= pods.claimed_volumes(pod)]

    @property
    def ready(self) -> int:
        """Number of replicas that answer requests."""
        return sum(self.answers(pod) for pod in self.pods.values())

    @property
    def placed(self) -> int:
        """Number of replicas with nodes, including those that are being deleted."""
        return sum(self.bound(pod) for pod in self.pods.values()) + len(self.leaving - self.pods.keys())

    @property
    def missing(self) -> bool:
        """Whether a replica has no pod now."""
        return any(number not in self.pods for number in range(self.wanted))

    def asked(self) -> Iterator[Object | None]:
        """The pod of each desired replica; None for a missing one."""
        return (self.pods.get(number) for number in range(self.wanted))

    def group(self, pod: Object) -> tuple[Object, ...]:
        """All pods of this pod's replica."""
        workers = self.workers.get(pods.ordinal(pod), ())
        return (pod, *(worker for worker in workers if pods.rank(worker) < pods.nodes(pod)))

    def complete(self, pod: Object) -> bool:
        """Whether all pods of this pod's replica exist."""
        return len(self.group(pod)) == pods.nodes(pod)

    def to_replace(self, going: Iterable[Object]) -> list[Object]:
        """Pods to delete with these, so that each replica is replaced as a whole: its outdated pods, otherwise all."""
        found: list[Object] = []
        for pod in going:
            group = self.group(pod)
            found += [each for each in group if not self._is_new(each)] or group
        return found

    def updated(self, pod: Object) -> bool:
        """Whether all pods of this pod's replica have the newest revision."""
        return all(self._is_new(each) for each in self.group(pod))

    def _is_new(self, pod: Object) -> bool:
        status = self.ranks.get(pods.rank(pod), {}).get("status") or {}
        return pods.revision(pod) == str(status.get("updateRevision") or "")

    def answers(self, pod: Object) -> bool:
        """Whether this pod's replica answers requests and all its pods have nodes."""
        return pods.ready(pod) and self.bound(pod)

    def bound(self, pod: Object) -> bool:
        """Whether all pods of this pod's replica exist and have nodes."""
        return self.complete(pod) and all(pods.bound(each) for each in self.group(pod))

    def problem(self, pod: Object) -> diagnosis.Problem | None:
        """The most severe problem of this pod's replica; None if it answers."""
        return serving.most_severe(serving.problem_of(self.state, each) for each in self.group(pod))

    def replaceable(self, pod: Object) -> bool:
        """Whether deleting the pod loses nothing: it does not answer, and can't recover, or has a revision that is
        neither the last good nor the newest one."""
        problem = self.problem(pod)
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


def _refused_at(pod: Object) -> datetime.datetime:
    """When the scheduler first found no node. The condition's time alone may be from before the gate was removed."""
    at, begun = (
        timestamps.parse(pods.condition(pod, "PodScheduled").get("lastTransitionTime")),
        gang_scheduling.admitted_at(pod),
    )
    return begun if at is None else max(at, begun)
