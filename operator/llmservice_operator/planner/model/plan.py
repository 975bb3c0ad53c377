"""The plan for one service: what should exist, what should go, and what to tell the user. See ``plan``."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.planner.model.fit_estimate import Question
from llmservice_operator.planner.model.observed import NOTHING, Input, Object


@dataclasses.dataclass(frozen=True)
class Deletion:
    """An object to delete, and only while it is still the one that was seen."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    why: str
    """For the log and the Event."""
    force: bool = False
    """Without waiting for a node to confirm that a pod has ended."""


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
    """A StatefulSet that is to have another number of replicas and stay as it is otherwise, if it is still this one."""

    namespace: str
    name: str
    uid: str
    replicas: int


@dataclasses.dataclass(frozen=True)
class Annotation:
    """Annotations that a pod lacks, and is to get only while it is still the one that was seen."""

    namespace: str
    name: str
    uid: str
    values: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Admission:
    """A pod whose scheduling gate is taken away, and what it is told then."""

    namespace: str
    name: str
    uid: str
    gates: Sequence[Mapping[str, str]]
    """Gates that stay: those of others."""
    values: Mapping[str, str]
    """Annotations."""


@dataclasses.dataclass(frozen=True)
class Event:
    """A Kubernetes Event on the service. Equal ones (type, reason, message) are sent once."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do now. Applying it twice does nothing the second time."""

    releases: Sequence[Deletion] = ()
    """StatefulSets to delete, pods excepted, before ``objects`` has them anew."""
    objects: Sequence[Object] = ()
    """Desired children, in the order in which they are applied (server-side apply)."""
    deletions: Sequence[Deletion] = ()
    """What goes, after all objects are applied."""
    status: dict[str, Any] | None = None
    """The whole status; written last, and only where it differs."""
    replicas: int | None = None
    """Count to write into an absent ``spec.replicas``; None where the spec has one."""
    resizes: Sequence[Resize] = ()
    """StatefulSets of a spec that can't be read, whose number of replicas is followed all the same."""
    scale: int | None = None
    """Count to write through the scale subresource: the step from or to zero where the HPA can't make it."""
    admissions: Sequence[Admission] = ()
    """Pods that may be scheduled now."""
    annotations: Sequence[Annotation] = ()
    """What pods are told, whether or not the objects could be applied."""
    events: Sequence[Event] = ()
    requeue_after: float | None = None
    """Seconds until the next look where time alone can change the plan (a loading budget that ends)."""
    requires: frozenset[Input] = NOTHING
    """What was not read and would change the plan: the shell reads it, as far as it can, and plans again."""
    question: Question | None = None
    """What ``Input.ESTIMATE`` is to answer."""
    claims: Sequence[str] = ()
    """The claims whose volumes ``Input.VOLUMES`` is of."""
    tells_of_itself: bool = False
    """True where the status is on what this plan does, and a look afterwards would not know it."""
    why: str = ""
    """For the log at a transition."""
