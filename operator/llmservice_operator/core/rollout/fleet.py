"""A StatefulSet and its pods, as a rollout sees them."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmservice_operator.core import diagnosis, pods, reasons, serving, times
from llmservice_operator.core.observed import Object
from llmservice_operator.core.rollout.record import noted_good
from llmservice_operator.core.situation import Situation

ADMITTED_WITHIN_SECONDS = 10
"""How long after it was made a pod is behind its gate at most, where there is room for it."""


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What is there of one service. Made by ``of``."""

    situation: Situation
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
    def of(cls, situation: Situation, live: Object) -> "Fleet":
        """Sort out what was observed."""
        return cls(
            situation=situation,
            live=live,
            wanted=situation.wanted_replicas,
            pods={pods.ordinal(pod): pod for pod in situation.engines},
            workers={
                number: tuple(pod for pod in situation.workers if pods.ordinal(pod) == number)
                for number in {pods.ordinal(pod) for pod in situation.workers}
            },
            ranks={0: live, **situation.followers},
            leaving=frozenset(pods.ordinal(pod) for pod in situation.leaving),
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
        group = self.group(pod)
        return len(group) == pods.nodes(pod) and all(pods.bound(each) for each in group)

    def problem(self, pod: Object) -> diagnosis.Problem | None:
        """The gravest problem of the pod's replica; None for one that answers."""
        return serving.gravest(serving.problem_of(self.situation, each) for each in self.group(pod))

    def worthless(self, pod: Object) -> bool:
        """Whether the pod doesn't answer and is not worth waiting for: it can't be expected to answer by itself, or is
        of a revision that nobody wants any more."""
        problem = self.problem(pod)
        if problem is None:
            return False
        abandoned = pods.revision(pod) not in (self.last_good, self.newest)
        return abandoned or problem.kind in reasons.BROKEN or self.homeless(pod)

    def homeless(self, pod: Object) -> bool:
        """Whether no node is found for the pod, or for one that its replica can't do without."""
        return any(not pods.bound(each) and (pods.refused(each) or self._held_back(each)) for each in self.group(pod))

    def _held_back(self, pod: Object) -> bool:
        """Whether there is no room for the pod's replica: else its gate would have been taken away by now."""
        made = times.parse(pod["metadata"].get("creationTimestamp")) or self.situation.observed.now
        return pods.gated(pod) and (self.situation.observed.now - made).total_seconds() >= ADMITTED_WITHIN_SECONDS
