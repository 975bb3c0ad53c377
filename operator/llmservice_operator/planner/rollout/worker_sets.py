"""The StatefulSets of the workers. They follow the leader's StatefulSet, so that a replica is replaced as a whole.

Replicas, partition and template version are those of the leader. Each worker StatefulSet stores its own last good
template.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import deletion_of
from llmservice_operator.planner.model.rollout_record import noted_good
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.rollout import recreate
from llmservice_operator.planner.rollout.statefulset import RolloutStep
from llmservice_operator.resources import names
from llmservice_operator.resources.objects import canonical, sealed


def sync_workers(
    state: ServiceState, leader: RolloutStep, worker_statefulsets: Sequence[dict[str, Any]], kept: bool
) -> RolloutStep:
    """``leader`` with the StatefulSets of the workers. With ``kept``, their templates wait for approval too."""
    if not worker_statefulsets:
        return leader
    live = {pods.name(each): each for each in state.worker_statefulsets.values()}
    made = tuple(
        _following(leader.statefulset, each, live.get(each["metadata"]["name"]), kept) for each in worker_statefulsets
    )
    renewed = [
        live[name]
        for each in made
        if (name := each["metadata"]["name"]) in live and recreate.requires_recreate(each, live[name])
    ]
    why = "an immutable field changes; its pods are kept"
    releases = (*leader.releases, *(deletion_of(each, why) for each in renewed))
    return dataclasses.replace(leader, worker_statefulsets=made, releases=releases)


def _following(leader: Object, rendered: dict[str, Any], live: Object | None, kept: bool) -> dict[str, Any]:
    meta, spec = rendered["metadata"], rendered["spec"]
    template = spec["template"]
    annotations = {key: text for key, text in meta.get("annotations", {}).items() if key != names.APPLIED_ANNOTATION}
    before = pods.annotations(leader).get(names.LAST_GOOD_ANNOTATION)
    good = recreate.still_mountable(_good(live), rendered, live) if live is not None and before else None
    if live is not None and kept:
        template = live["spec"]["template"]
    if good is not None:
        annotations[names.LAST_GOOD_ANNOTATION] = canonical(good)
        if canonical(leader["spec"]["template"]) == before:
            template = good
    return sealed(
        {
            **rendered,
            "metadata": {**meta, "annotations": annotations},
            "spec": {
                **spec,
                "replicas": leader["spec"]["replicas"],
                "updateStrategy": leader["spec"]["updateStrategy"],
                "template": template,
            },
        }
    )


def _good(live: Object) -> Any:
    """The last good template: the stored one, otherwise the current one."""
    return noted_good(live) or live["spec"]["template"]
