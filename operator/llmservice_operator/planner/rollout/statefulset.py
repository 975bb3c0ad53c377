"""The StatefulSet with its partition, record and last good template."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from llmservice_operator.api.status import CanaryStatus, UpgradeOffer
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Deletion, deletion_of
from llmservice_operator.planner.model.result import Result
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.resources import names
from llmservice_operator.resources.objects import canonical, sealed


@dataclasses.dataclass(frozen=True)
class RolloutStep:
    """The StatefulSets to apply in this step, and the pods to delete."""

    statefulset: dict[str, Any]
    result: Result
    """The condition RolledOut."""
    deletions: tuple[Deletion, ...] = ()
    worker_statefulsets: tuple[dict[str, Any], ...] = ()
    """The StatefulSets of the workers, which follow the leader's."""
    releases: tuple[Deletion, ...] = ()
    """StatefulSets to delete without their pods before anything is applied."""
    offer: UpgradeOffer | None = None
    """The change that waits for approval."""
    canary: CanaryStatus | None = None
    """How the gateway splits requests; None if all replicas are equal."""


def render_statefulset(
    rendered: dict[str, Any],
    record: Record,
    partition: int | None = 0,
    surge: int = 0,
    good: Any = None,
    *,
    roll_back: bool = False,
) -> dict[str, Any]:
    """``rendered`` with the state of its rollout. Without a partition the update strategy is OnDelete. ``good`` is
    stored as the last good template, and replaces the template if ``roll_back`` is true."""
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
                "template": good if roll_back else spec["template"],
            },
        }
    )


def deletions(going: Iterable[Object], why: str) -> tuple[Deletion, ...]:
    """The deletion of each of these pods."""
    return tuple(deletion_of(pod, why) for pod in going)
