"""A StatefulSet and its pods, as a rollout sees them."""

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_operator.core import pods, reasons, serving
from llmservice_operator.core.observed import Object
from llmservice_operator.core.situation import Situation
from llmservice_operator.render import names


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What is there of one service. Made by ``of``."""

    situation: Situation
    live: Object
    wanted: int
    """Replicas that are asked for, a surge left out."""
    pods: Mapping[int, Object]
    """By number, those that are being deleted left out."""
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
            leaving=frozenset(pods.ordinal(pod) for pod in situation.leaving),
        )

    @property
    def _status(self) -> Mapping[str, Any]:
        return self.live.get("status") or {}

    @property
    def settled(self) -> bool:
        """Whether the StatefulSet's controller has seen its spec, so that the revisions are of it."""
        return bool(self._status.get("observedGeneration") == self.live["metadata"].get("generation"))

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
        text = pods.annotations(self.live).get(names.LAST_GOOD_ANNOTATION)
        try:
            return json.loads(text) if text else None
        except ValueError:
            return None

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
        return sum(pods.ready(pod) for pod in self.pods.values())

    @property
    def placed(self) -> int:
        """Pods that have a node."""
        return sum(pods.bound(pod) for pod in self.pods.values()) + len(self.leaving)

    @property
    def missing(self) -> bool:
        """Whether a replica has no pod now."""
        return any(number not in self.pods for number in range(self.wanted))

    def asked(self) -> Iterator[Object | None]:
        """The pod of each replica that is asked for; None for one that is missing."""
        return (self.pods.get(number) for number in range(self.wanted))

    def updated(self, pod: Object) -> bool:
        """Whether the pod is of the newest revision."""
        return pods.revision(pod) == self.newest

    def worthless(self, pod: Object) -> bool:
        """Whether the pod doesn't answer and is not worth waiting for: it can't be expected to answer by itself, or is
        of a revision that nobody wants any more."""
        problem = serving.problem_of(self.situation, pod)
        if problem is None:
            return False
        abandoned = pods.revision(pod) not in (self.last_good, self.newest)
        return abandoned or problem.reason in reasons.BROKEN or self.homeless(pod)

    def homeless(self, pod: Object) -> bool:
        """Whether the scheduler finds no node for the pod."""
        return not pods.bound(pod) and pods.condition(pod, "PodScheduled").get("reason") == "Unschedulable"
