"""The StatefulSets of ranks above 0: each keeps step with that of rank 0, so that a replica is replaced as one.

Whatever was decided for rank 0 holds for them: how many pods, how many of them new, which template. What each has to go
back to, it keeps itself.
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
    state: ServiceState, leader: RolloutStep, followers: Sequence[dict[str, Any]], kept: bool
) -> RolloutStep:
    """``leader`` with the sets that follow it; those that are ``kept`` wait for consent, as it does."""
    if not followers:
        return leader
    live = {pods.name(each): each for each in state.followers.values()}
    made = tuple(_following(leader.statefulset, each, live.get(each["metadata"]["name"]), kept) for each in followers)
    renewed = [
        live[name]
        for each in made
        if (name := each["metadata"]["name"]) in live and recreate.requires_recreate(each, live[name])
    ]
    why = "an immutable field changes; its pods are kept"
    releases = (*leader.releases, *(deletion_of(each, why) for each in renewed))
    return dataclasses.replace(leader, followers=made, releases=releases)


def _following(leader: Object, rendered: dict[str, Any], live: Object | None, kept: bool) -> dict[str, Any]:
    meta, spec = rendered["metadata"], rendered["spec"]
    template, annotations = spec["template"], {}
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
    """The template that is known to be good: as noted when the other one came, else the one that is there."""
    return noted_good(live) or live["spec"]["template"]
