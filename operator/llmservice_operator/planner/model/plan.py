"""The plan for one service: objects to apply and to delete, and the status. See ``planner.plan``."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.planner.model.fit_estimate import Question
from llmservice_operator.planner.model.foreign_changes import ForeignChange
from llmservice_operator.planner.model.observed import NOTHING, Input, Object


@dataclasses.dataclass(frozen=True)
class Deletion:
    """An object to delete, if it still has this uid."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    why: str
    """Reason for the log and the Event."""
    force: bool = False
    """Whether to delete a pod without waiting for its node to confirm that it has terminated."""


def deletion_of(obj: Object, why: str, *, force: bool = False) -> Deletion:
    """The deletion of exactly this object."""
    meta = obj["metadata"]
    return Deletion(
        api_version=obj.get("apiVersion", "v1"),
        kind=obj.get("kind", "Pod"),
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        why=why,
        force=force,
    )


@dataclasses.dataclass(frozen=True)
class Resize:
    """A StatefulSet that only gets another number of replicas, if it still has this uid."""

    namespace: str
    name: str
    uid: str
    replicas: int


@dataclasses.dataclass(frozen=True)
class Annotation:
    """Annotations to add to a pod, if it still has this uid."""

    namespace: str
    name: str
    uid: str
    values: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Admission:
    """A pod whose scheduling gate is removed."""

    namespace: str
    name: str
    uid: str
    gates: Sequence[Mapping[str, str]]
    """Gates of others, which stay."""
    values: Mapping[str, str]
    """Annotations to add."""


@dataclasses.dataclass(frozen=True)
class Event:
    """An Event about the service. Equal Events (type, reason, message) are sent once."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do now. Applying a plan again changes nothing."""

    releases: Sequence[Deletion] = ()
    """StatefulSets to delete without their pods, before ``objects`` create them again."""
    objects: Sequence[Object] = ()
    """Desired children, in the order in which they are applied (server-side apply)."""
    accepted: frozenset[tuple[str, str]] = frozenset()
    """Kind and name of those of ``objects`` that are not applied, because they differ from the live ones only in values
    that others have set and that are accepted."""
    corrected: Mapping[tuple[str, str], Sequence[str]] = dataclasses.field(default_factory=dict)
    """Paths of the fields that ``objects`` correct because others changed them, by kind and name of the object."""
    deletions: Sequence[Deletion] = ()
    """Objects to delete after all objects are applied."""
    status: dict[str, Any] | None = None
    """The whole status; written last, and only if it differs."""
    replicas: int | None = None
    """Count to write into an absent ``spec.replicas``; None if the spec has one."""
    resizes: Sequence[Resize] = ()
    """StatefulSets to scale for a service whose spec can't be parsed."""
    scale: int | None = None
    """Count to write through the scale subresource: to or from zero, if the HPA can't scale so."""
    admissions: Sequence[Admission] = ()
    """Pods that may be scheduled now."""
    annotations: Sequence[Annotation] = ()
    """Annotations to add to pods, even if some objects could not be applied."""
    events: Sequence[Event] = ()
    requeue_after: float | None = None
    """Seconds until the next reconciliation, if the plan can change because time passes."""
    requires: frozenset[Input] = NOTHING
    """Inputs that were not read and may change the plan. The controller reads them, if it can, and plans again."""
    question: Question | None = None
    """The question for ``Input.ESTIMATE``."""
    device: str | None = None
    """The extended resource or DeviceClass whose devices ``Input.NODES`` includes."""
    claims: Sequence[str] = ()
    """The claims whose volumes ``Input.VOLUMES`` requires."""
    shared_claims: Sequence[str] = ()
    """The claims that all replicas or the inspection mount, for ``Input.ACCESS_MODES``."""
    foreign_changes: Sequence[ForeignChange] = ()
    """The changes of children by others whose field owners ``Input.FIELD_OWNERS`` requires."""
    tells_of_itself: bool = False
    """Whether the status describes what this plan does, so that it can't be derived from observations afterwards."""
    why: str = ""
    """Summary for the log."""
