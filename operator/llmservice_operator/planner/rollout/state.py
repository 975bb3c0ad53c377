"""A StatefulSet and its pods, as a rollout sees them."""

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
"""How long a pod has to be held back for want of room, or of its replica's other pods, before it counts as homeless."""


@dataclasses.dataclass(frozen=True)
class RolloutState:
    """What is there of one service. Made by ``of``."""

    state: ServiceState
    live: Object
    wanted: int
    """Replicas that are asked for, a surge left out."""
    pods: Mapping[int, Object]
    """By number, those that are being deleted left out."""
    workers: Mapping[int, tuple[Object, ...]]
    """Pods of ranks above 0, by their replica's number."""
    ranks: Mapping[int, Object]
    """StatefulSets by rank, the live one as 0."""
    leaving: frozenset[int]
    """Numbers of pods that are being deleted: their successors can't be made yet."""

    @classmethod
    def of(cls, state: ServiceState, live: Object) -> "RolloutState":
        """Sort out what was observed."""
        return cls(
            state=state,
            live=live,
            wanted=state.wanted_replicas,
            pods={pods.ordinal(pod): pod for pod in state.engines},
            workers={
                number: tuple(pod for pod in state.workers if pods.ordinal(pod) == number)
                for number in {pods.ordinal(pod) for pod in state.workers}
            },
            ranks={0: live, **state.followers},
            leaving=frozenset(pods.ordinal(pod) for pod in state.leaving),
        )

    @property
    def _status(self) -> Mapping[str, Any]:
        return self.live.get("status") or {}

    @property
    def settled(self) -> bool:
        """Whether the StatefulSets' controller has seen their specs, so that the revisions are of them."""
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
        """The last revision that all replicas were ready with, or the first one."""
        return str(self._status.get("currentRevision") or "")

    @functools.cached_property
    def good(self) -> Any:
        """The template before the one that was asked for, if all replicas were ready with it; else None."""
        return noted_good(self.live)

    @property
    def size(self) -> int:
        """Replicas that the StatefulSet was told to run, a surge among them."""
        return int(self.live["spec"].get("replicas", 1))

    @property
    def by_hand(self) -> bool:
        """Whether a pod is replaced only where somebody deletes it, and then always by a new one."""
        return bool((self.live["spec"].get("updateStrategy") or {}).get("type") == "OnDelete")

    @property
    def partition(self) -> int:
        """The number from which on the StatefulSet's controller makes pods new."""
        strategy = self.live["spec"].get("updateStrategy") or {}
        return self.size if self.by_hand else int((strategy.get("rollingUpdate") or {}).get("partition") or 0)

    @property
    def outdated(self) -> list[Object]:
        """Pods of an older revision, by number."""
        return [pod for _, pod in sorted(self.pods.items()) if not self.updated(pod)]

    @property
    def without_disk(self) -> list[Object]:
        """Pods, by number, that lack a disk that their StatefulSet gives."""
        disks = {claim["metadata"]["name"] for claim in self.live["spec"].get("volumeClaimTemplates") or ()}
        return [pod for _, pod in sorted(self.pods.items()) if not disks <= pods.claimed_volumes(pod)]

    @property
    def ready(self) -> int:
        """Replicas that answer requests."""
        return sum(self.answers(pod) for pod in self.pods.values())

    @property
    def placed(self) -> int:
        """Replicas that have their nodes, or had until they began to go."""
        return sum(self.bound(pod) for pod in self.pods.values()) + len(self.leaving - self.pods.keys())

    @property
    def missing(self) -> bool:
        """Whether a replica has no pod now."""
        return any(number not in self.pods for number in range(self.wanted))

    def asked(self) -> Iterator[Object | None]:
        """The pod of each replica that is asked for; None for one that is missing."""
        return (self.pods.get(number) for number in range(self.wanted))

    def group(self, pod: Object) -> tuple[Object, ...]:
        """All pods of this one's replica."""
        workers = self.workers.get(pods.ordinal(pod), ())
        return (pod, *(worker for worker in workers if pods.rank(worker) < pods.nodes(pod)))

    def complete(self, pod: Object) -> bool:
        """Whether all pods of this one's replica are there."""
        return len(self.group(pod)) == pods.nodes(pod)

    def to_replace(self, going: Iterable[Object]) -> list[Object]:
        """Pods that go with these, so that a replica is replaced as one: those that are not new yet, else all."""
        found: list[Object] = []
        for pod in going:
            group = self.group(pod)
            found += [each for each in group if not self._is_new(each)] or group
        return found

    def updated(self, pod: Object) -> bool:
        """Whether the pod's replica is of the newest revision."""
        return all(self._is_new(each) for each in self.group(pod))

    def _is_new(self, pod: Object) -> bool:
        status = self.ranks.get(pods.rank(pod), {}).get("status") or {}
        return pods.revision(pod) == str(status.get("updateRevision") or "")

    def answers(self, pod: Object) -> bool:
        """Whether the pod's replica answers requests, with all that it consists of."""
        return pods.ready(pod) and self.bound(pod)

    def bound(self, pod: Object) -> bool:
        """Whether all of the pod's replica has its nodes."""
        return self.complete(pod) and all(pods.bound(each) for each in self.group(pod))

    def problem(self, pod: Object) -> diagnosis.Problem | None:
        """The gravest problem of the pod's replica; None for one that answers."""
        return serving.gravest(serving.problem_of(self.state, each) for each in self.group(pod))

    def worthless(self, pod: Object) -> bool:
        """Whether the pod doesn't answer and is not worth waiting for: it can't be expected to answer by itself, or is
        of a revision that nobody wants any more."""
        problem = self.problem(pod)
        if problem is None:
            return False
        abandoned = pods.revision(pod) not in (self.last_good, self.newest)
        return abandoned or reasons.of(problem.kind).cannot_recover or self.homeless(pod)

    def homeless(self, pod: Object) -> bool:
        """Whether no node is found for the pod's replica."""
        return self.homeless_since(pod) is not None

    def homeless_since(self, pod: Object) -> datetime.datetime | None:
        """Since when it is known that there is no node for one of the pod's replica; None where that is not known."""
        unbound = [each for each in self.group(pod) if not pods.bound(each)]
        refused = [_refused_at(each) for each in unbound if pods.refused(each) and not pods.gated(each)]
        held = self._held_since(pod) if any(pods.gated(each) for each in unbound) else None
        return min([*refused, *([held] if held is not None else [])], default=None)

    def undecided(self, pod: Object) -> bool:
        """Whether the pod's gate may still be taken away: nobody has said that there is no room for its replica."""
        first = self.pods.get(pods.ordinal(pod))
        return pods.gated(pod) and (first is None or not self.homeless(first))

    def _held_since(self, pod: Object) -> datetime.datetime | None:
        """Since when the pod's replica is held back with a reason that does not pass by itself."""
        group = gang_scheduling.Group(pods.ordinal(pod), pods.nodes(pod), self.group(pod))
        since = max(map(gang_scheduling.made_at, group.pods))
        if group.whole:
            told = self.state.previous.get("Scheduled", {})
            at = timestamps.parse(told.get("lastTransitionTime"))
            if (
                not reasons.of(str(told.get("reason"))).held_back
                or at is None
                or pod["metadata"]["uid"] in self._admitted
            ):
                return None
            since = max(since, at)
        lasts = (self.state.observed.now - since).total_seconds()
        return since if lasts >= HELD_SECONDS else None

    @functools.cached_property
    def _admitted(self) -> frozenset[str]:
        """Pods whose gate is taken away now."""
        return frozenset(each.uid for each in gang_scheduling.plan_gang(self.state).admissions)


def _refused_at(pod: Object) -> datetime.datetime:
    """When the scheduler first found no node. The condition's time alone may be that of the gate before."""
    at, begun = (
        timestamps.parse(pods.condition(pod, "PodScheduled").get("lastTransitionTime")),
        gang_scheduling.admitted_at(pod),
    )
    return begun if at is None else max(at, begun)
