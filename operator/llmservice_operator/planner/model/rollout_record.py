"""The stored state of a rollout: an annotation of the StatefulSet, written together with its template."""

import dataclasses
import functools
from typing import Any

from llmservice_contract.finding import Finding, finding_from_json, finding_to_json
from llmservice_contract.foreign import read_json
from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import names
from llmservice_operator.resources.objects import canonical

MOST_PLACED = 1_000_000


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a revision failed."""

    finding: Finding
    refresh: str = ""
    """The value of the service's refresh annotation then. Another value requests another attempt."""
    retry_at: str = ""
    """When the template is tried again by itself at the earliest; empty for never."""


@dataclasses.dataclass(frozen=True)
class Record:
    """The state of the rollout of a StatefulSet's template."""

    template: str
    """Digest of the desired template as it was rendered."""
    model: str = ""
    """Digest of the model that it serves."""
    done: bool = False
    """Whether all replicas were ready with it once. Later failures don't count as failures of the rollout."""
    before: str = ""
    """Digest of the model of the last good template; empty if it is the same."""
    by: str = ""
    """Digest of the operator version that rendered it; empty if unknown."""
    spec: str = ""
    """Digest of the spec without the fields that do not affect pods."""
    waiting: str = ""
    """Digest of the template that the operator ``waiting_by`` would render, and that waits for approval."""
    waiting_by: str = ""
    """Digest of that operator version."""
    placed: int = 0
    """Maximum number of pods with a node since the change."""
    strategy: RolloutStrategy | None = None
    """The chosen strategy; None before the choice and without a rollout."""
    why: str = ""
    """Why it was chosen, as part of a sentence."""
    lacking: str = ""
    """Since when the surge pod is missing although the controller has observed the StatefulSet; empty if it is not
    missing."""
    short: str = ""
    """Since when fewer replicas have nodes than had before, and a new pod has none; empty if as many have."""
    attempts: int = 0
    """How often the template was tried again by itself."""
    canary: str = ""
    """Revision of the canary; empty before the first replica is replaced, and without a canary."""
    canary_since: str = ""
    """Since when it is compared with the old replicas."""
    canary_raised: bool = False
    """Whether it has answered enough requests well to get its whole weight."""
    canary_passed: bool = False
    """Whether the rollout continues after it."""
    canary_failed: str = ""
    """Why it has failed, as a sentence."""
    canary_before: str = ""
    """Revision of an earlier canary that did not pass. Its pods get no requests."""
    failure: Failure | None = None
    """Set once the template has failed. The StatefulSet then has the last good one."""

    @property
    def same_model(self) -> bool:
        """Whether the last good template served the same model, so that its loading times can be compared."""
        return not self.before or self.before == self.model

    @property
    def surge(self) -> int:
        """Number of surge replicas."""
        return int(self.strategy is RolloutStrategy.SURGE)

    def is_of(self, template: str) -> bool:
        """Whether the StatefulSet has this template and was not rolled back."""
        return self.template == template and self.failure is None

    def has_failed(self, template: str, refresh: str) -> bool:
        """Whether this template has failed and must not be tried again."""
        return self.template == template and self.failure is not None and self.failure.refresh == refresh

    def next(self, asked: "Record", placed: int) -> "Record":
        """The record of the next template. A running surge replica is kept."""
        before = self.model if self.done else self.before
        return dataclasses.replace(
            asked,
            before="" if before == asked.model else before,
            placed=placed,
            strategy=self.strategy if self.surge else None,
            why=self.why if self.surge else "",
            canary_before=self.canary if self.canary and not self.canary_passed else self.canary_before,
        )

    def finished(self) -> "Record":
        """The record after all replicas were ready with the template."""
        return dataclasses.replace(
            self,
            done=True,
            attempts=0,
            before="",
            placed=0,
            strategy=None,
            why="",
            lacking="",
            short="",
            canary="",
            canary_since="",
            canary_raised=False,
            canary_passed=False,
            canary_failed="",
            canary_before="",
            failure=None,
        )

    def text(self) -> str:
        """The annotation's value."""
        parts = {wire: getattr(self, name) for wire, name in WIRE_NAMES.items()}
        if self.failure is not None:
            parts["failure"] = {**finding_to_json(self.failure.finding), "refresh": self.failure.refresh}
            if self.failure.retry_at:
                parts["failure"]["retryAt"] = self.failure.retry_at
        return canonical({key: value for key, value in parts.items() if value})

    @classmethod
    def of(cls, statefulset: Object) -> "Record | None":
        """The record of a live StatefulSet; None if it has no valid one, because others may write annotations. Unknown
        fields of a later version are ignored."""
        text = pods.annotations(statefulset).get(names.ROLLOUT_ANNOTATION)
        return _record(text) if isinstance(text, str) else None


WIRE_NAMES = {
    "template": "template",
    "model": "model",
    "done": "done",
    "before": "before",
    "by": "by",
    "spec": "spec",
    "waiting": "waiting",
    "waiting_by": "waiting_by",
    "placed": "placed",
    "strategy": "strategy",
    "why": "why",
    "lacking": "lacking",
    "attempts": "attempts",
    "short": "short",
    "canary": "canary",
    "canary_since": "canary_since",
    "canary_raised": "canary_raised",
    "canary_passed": "canary_passed",
    "canary_failed": "canary_failed",
    "canary_before": "canary_before",
}
"""Names in the annotation and their fields. StatefulSets of released versions have these names, so they must not
change. Besides them there is ``failure``: a finding, with ``refresh`` and ``retryAt``."""


@functools.lru_cache(16)  # a plan reads the same few records many times
def _record(text: str) -> Record | None:
    found = read_json(text)
    if not isinstance(found, dict):
        return None
    known = {name: found[wire] for wire, name in WIRE_NAMES.items() if wire in found}
    try:
        strategy = known.pop("strategy", None)
        failure = found.get("failure")
        record = Record(
            **known,
            strategy=_strategy(strategy) if strategy else None,
            failure=_failure(failure) if failure else None,
        )
    except (ValueError, TypeError):
        return None
    bounded = 0 <= record.placed <= MOST_PLACED and 0 <= record.attempts <= MOST_PLACED
    return record if _typed(record) and bounded else None


def _strategy(found: Any) -> RolloutStrategy:
    """Raises ValueError for an unknown strategy."""
    strategy = RolloutStrategy(found)
    if strategy is RolloutStrategy.AUTO:
        raise ValueError("a choice has been made, or none is recorded")
    return strategy


def _failure(found: Any) -> Failure:
    """Raises NotAFinding, which is a ValueError."""
    finding, refresh, retry_at = finding_from_json(found), found.get("refresh", ""), found.get("retryAt", "")
    if not isinstance(refresh, str) or not isinstance(retry_at, str):
        raise ValueError("refresh or retryAt is not a string")
    return Failure(finding, refresh, retry_at)


def digest(template: Any) -> str:
    """Digest of a rendered template."""
    return names.digest(canonical(template))


def noted_good(live: Object) -> Any:
    """The last good template in a StatefulSet's annotation: the one before the desired one, if all replicas were ready
    with it. None if there is none or it is not a valid pod template. It must not be changed."""
    text = pods.annotations(live).get(names.LAST_GOOD_ANNOTATION)
    return _template(text) if isinstance(text, str) else None


@functools.lru_cache(2)  # a plan reads that of the live and of the desired StatefulSet
def _template(text: str) -> Any:
    found = read_json(text)
    return found if _is_template(found) else None


def _is_template(found: Any) -> bool:
    """Whether the labels, containers and volumes have the types of a pod template."""
    if not isinstance(found, dict) or not isinstance(found.get("spec"), dict):
        return False
    spec, meta = found["spec"], found.get("metadata", {})
    lists = [spec.get(name, []) for name in ("containers", "initContainers", "volumes", "schedulingGates")]
    if not isinstance(meta, dict) or not spec.get("containers") or not all(isinstance(each, list) for each in lists):
        return False
    if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for items in lists for item in items):
        return False
    maps = (meta.get("labels", {}), meta.get("annotations", {}), spec.get("nodeSelector", {}))
    return all(
        isinstance(each, dict) and all(isinstance(value, str) for value in each.values()) for each in maps
    ) and all(
        isinstance(each.get("envFrom", []), list) and isinstance(each.get("resources", {}), dict)
        for each in (*lists[0], *lists[1])
    )


def _typed(record: Record) -> bool:
    """Whether each field has a value of its default's kind."""
    return all(
        type(getattr(record, field.name)) is field.type
        for field in dataclasses.fields(record)
        if field.type in (str, bool, int)
    )
