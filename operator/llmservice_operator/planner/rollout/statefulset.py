"""The StatefulSet with its place in a rollout, and what goes with it."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from llmservice_operator.api.status import UpgradeOffer
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Deletion, deletion_of
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.resources import names
from llmservice_operator.resources.objects import canonical, sealed


@dataclasses.dataclass(frozen=True)
class RolloutStep:
    """The StatefulSet, and what goes with it."""

    statefulset: dict[str, Any]
    result: Result
    """The condition RolledOut."""
    deletions: tuple[Deletion, ...] = ()
    followers: tuple[dict[str, Any], ...] = ()
    """The StatefulSets of ranks above 0, which keep step."""
    releases: tuple[Deletion, ...] = ()
    """What is deleted before anything is applied, and leaves its pods."""
    offer: UpgradeOffer | None = None
    """What waits for consent."""


def render_statefulset(
    rendered: dict[str, Any],
    record: Record,
    partition: int | None = 0,
    surge: int = 0,
    good: Any = None,
    *,
    goes_back: bool = False,
) -> dict[str, Any]:
    """``rendered`` with its place in a rollout; without a partition pods are replaced by hand. ``good`` is kept beside
    its template, and takes its place where it ``goes_back``."""
    meta, spec = rendered["metadata"], rendered["spec"]
    annotations = {key: text for key, text in meta.get("annotations", {}).items() if key != names.APPLIED_ANNOTATION}
    annotations[names.ROLLOUT_ANNOTATION] = record.text()
    if good is not None:
        annotations[names.LAST_GOOD_ANNOTATION] = canonical(good)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    return sealed(
        {
            **rendered,
            "metadata": {**meta, "annotations": annotations},
            "spec": {
                **spec,
                "replicas": spec["replicas"] + surge,
                "updateStrategy": {"type": "OnDelete"} if partition is None else rolling,
                "template": good if goes_back else spec["template"],
            },
        }
    )


def deletions(going: Iterable[Object], why: str) -> tuple[Deletion, ...]:
    """The deletion of each of these pods."""
    return tuple(deletion_of(pod, why) for pod in going)
