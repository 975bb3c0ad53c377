"""Refresh annotations of pods after a change of keys, limits or caps: once, and only where missing."""

import copy
import dataclasses
from typing import Any

from builders.observed import Scene, a_scene
from builders.pods import PodBuilder, a_pod
from builders.services import a_service
from llmservice_operator.planner.model.plan import Annotation
from llmservice_operator.resources.names import ACCESS_ANNOTATION, REFRESH_ANNOTATION


def serving(*pods: PodBuilder) -> Scene:
    """A service of two replicas whose children are as they should be."""
    ready = a_pod("chat-0").mounting("chat-access").ready(), a_pod("chat-1").mounting("chat-access").ready()
    return a_scene(a_service().with_replicas(2)).settled().with_pods(*(pods or ready))


def asking(scene: Scene, value: str = "2026-01-01T12:00:00Z") -> Scene:
    """After a user set the refresh annotation."""
    service = copy.deepcopy(scene.service)
    service["metadata"].setdefault("annotations", {})[REFRESH_ANNOTATION] = value
    return dataclasses.replace(scene, service=service)


def reported(scene: Scene) -> Scene:
    """After the annotations of the plan were written to its pods."""
    pods = copy.deepcopy(scene.pods)
    for each in scene.plan().annotations:
        (pod,) = (pod for pod in pods if pod["metadata"]["uid"] == each.uid)
        pod["metadata"].setdefault("annotations", {}).update(each.values)
    return dataclasses.replace(scene, pods=pods)


def keys(scene: Scene) -> dict[str, set[str]]:
    return {each.name: set(each.values) for each in scene.plan().annotations}


def test_each_pod_is_told_once_of_a_request_to_look() -> None:
    scene = asking(reported(serving()))
    values = {REFRESH_ANNOTATION: "2026-01-01T12:00:00Z"}
    assert scene.plan().annotations == tuple(
        Annotation("team-a", name, f"uid-{name}", values) for name in ("chat-0", "chat-1")
    )
    assert reported(scene).plan().annotations == ()


def test_another_request_is_told_again() -> None:
    scene = reported(asking(reported(serving())))
    assert keys(asking(scene, "again")) == {"chat-0": {REFRESH_ANNOTATION}, "chat-1": {REFRESH_ANNOTATION}}


def test_only_the_pod_that_does_not_know_is_told() -> None:
    scene = reported(asking(reported(serving())))
    fresh = a_pod("chat-2").build()
    assert keys(dataclasses.replace(scene, pods=(*scene.pods, fresh))) == {"chat-2": {REFRESH_ANNOTATION}}


def test_revoked_keys_reach_pods_of_a_spec_that_makes_no_sense() -> None:
    broken = reported(serving()).with_spec(engine={"kvCacheMemory": "1500Mi"}, accelerator={"type": "cpu"})
    assert keys(asking(broken)) == {"chat-0": {REFRESH_ANNOTATION}, "chat-1": {REFRESH_ANNOTATION}}


def test_a_pod_on_its_way_out_and_pods_of_others_are_not_told() -> None:
    other = a_pod("chat-1")
    owner: dict[str, Any] = {"kind": "ReplicaSet", "name": "x", "uid": "x", "controller": True}
    other = dataclasses.replace(other, metadata={**other.metadata, "ownerReferences": [owner]})
    assert keys(asking(serving(a_pod("chat-0").going(), other))) == {}


def test_a_changed_policy_is_told_only_once_the_pods_can_read_it() -> None:
    scene = reported(serving()).with_spec(access={"caps": {"maxTokens": 7}})
    assert keys(scene) == {}, "the ConfigMap is still the old one"
    applied = scene.applied()
    assert keys(applied) == {"chat-0": {ACCESS_ANNOTATION}, "chat-1": {ACCESS_ANNOTATION}}
    assert keys(reported(applied)) == {}


def test_a_pod_that_reads_the_policy_of_another_revision_is_not_told_of_this_one() -> None:
    closed = (
        reported(serving()).with_spec(access={"apiKeys": {"secretRef": {"name": "keys"}}}).settled("r2", before="r1")
    )
    assert keys(closed) == {}


def test_a_request_that_is_taken_back_changes_nothing() -> None:
    scene = reported(asking(reported(serving())))
    service = copy.deepcopy(scene.service)
    del service["metadata"]["annotations"][REFRESH_ANNOTATION]
    assert keys(dataclasses.replace(scene, service=service)) == {}
