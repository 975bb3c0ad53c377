"""Volumes of replicas: which are kept for one that may come back, and which are given up."""

from __future__ import annotations

from typing import Any

import pytest

from builders.observed import Scene, a_scene
from builders.pods import PodBuilder, a_pod
from builders.services import a_service
from llmservice_operator.planner.model.observed import Input

CONFLICT = "0/3 nodes are available: 1 node(s) had volume node affinity conflict, 2 Insufficient nvidia.com/gpu."


def a_claim(number: int, of: str = "chat") -> dict[str, Any]:
    name = f"cache-{of}-{number}"
    meta = {"name": name, "namespace": "team-a", "uid": f"uid-{name}"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": {}}


def using_its_claim(pod: PodBuilder) -> PodBuilder:
    claim = {"name": "cache", "persistentVolumeClaim": {"claimName": f"cache-{pod.metadata['name']}"}}
    return pod.with_spec(volumes=[claim])


def a_scene_with(replicas: int, claims: int, *, pods: int | None = None, **spec: Any) -> Scene:
    service = a_service().with_replicas(replicas).with_spec(cache={"size": "10Gi"}).with_spec(**spec)
    there = [using_its_claim(a_pod(f"chat-{number}")).ready() for number in range(replicas if pods is None else pods)]
    scene = a_scene(service).settled().with_pods(*there).settled()
    return scene.with_children(*(a_claim(number) for number in range(claims)))


def given_up(scene: Scene) -> list[str]:
    return sorted(gone.name for gone in scene.plan().deletions if gone.kind == "PersistentVolumeClaim")


def test_one_more_than_is_asked_for_is_kept() -> None:
    assert given_up(a_scene_with(2, 5)) == ["cache-chat-3", "cache-chat-4"]


def test_as_many_as_the_autoscaler_may_ask_for_are_kept() -> None:
    targets = {"timeToFirstToken": {"p99": "200ms"}}
    scaling = {"minReplicas": 1, "maxReplicas": 4, "targets": targets}
    assert given_up(a_scene_with(1, 6, scaling=scaling)) == ["cache-chat-4", "cache-chat-5"]


@pytest.mark.parametrize(("keep", "gone"), [(0, 3), (2, 1), (10, 0)])
def test_or_as_many_as_are_stated(keep: int, gone: int) -> None:
    assert len(given_up(a_scene_with(2, 5, cache={"keep": keep}))) == gone


def test_what_a_pod_uses_is_kept_until_it_is_gone() -> None:
    scene = a_scene_with(1, 4, pods=4, cache={"keep": 0})
    assert given_up(scene) == []


def test_claims_of_others_are_left_alone() -> None:
    scene = a_scene_with(1, 0, cache={"keep": 0}).with_children(a_claim(7, "chat-x"), a_claim(7, "other"))
    assert given_up(scene) == []


def test_all_go_once_no_volume_is_asked_for_any_more() -> None:
    scene = a_scene_with(1, 2)
    without = scene.with_spec(cache=None)
    assert given_up(without) == ["cache-chat-1"], "its pod has the other, and the StatefulSet still gives that"
    (made,) = [each for each in without.plan().objects if each["kind"] == "StatefulSet"]
    renewed = without.without("StatefulSet", "chat").with_children(
        {**made, "metadata": {**made["metadata"], "uid": "x"}}
    )
    assert given_up(renewed.with_pods(a_pod("chat-0").ready())) == ["cache-chat-0", "cache-chat-1"]


def stranded() -> Scene:
    scene = a_scene_with(2, 2)
    return scene.with_pods(
        using_its_claim(a_pod("chat-0")).ready(), using_its_claim(a_pod("chat-1")).unschedulable(CONFLICT)
    )


def deleted(scene: Scene) -> list[tuple[str, str]]:
    return [(gone.kind, gone.name) for gone in scene.plan().deletions]


def test_a_volume_on_a_node_that_is_lost_is_given_up_with_its_pod() -> None:
    scene = stranded()
    made = scene.plan()
    assert {Input.HEALTH, Input.VOLUMES} <= made.requires
    assert list(made.claims) == ["cache-chat-1"]
    both = [("PersistentVolumeClaim", "cache-chat-1"), ("Pod", "chat-1")]
    known = scene.with_volumes(cache_chat_1=["gpu-1"]).with_unready(3, gpu_1=500)
    assert deleted(known.at(619)) == []
    assert deleted(known.at(620)) == both
    assert deleted(scene.with_volumes(cache_chat_1=["gpu-1"]).with_unready(3, of="gpu-0 gpu-2").at(1)) == both


def test_a_volume_that_another_node_can_mount_is_kept() -> None:
    scene = stranded().with_unready(3, gpu_1=0).at(5000)
    assert deleted(scene.with_volumes(cache_chat_1=["gpu-1", "gpu-2"])) == []
    assert deleted(scene.with_volumes(cache_chat_1=[])) == []
    assert deleted(scene.with_volumes(cache_chat_1=["gpu-2"])) == []
    assert deleted(scene.with_volumes()) == []
    most = stranded().with_volumes(cache_chat_1=["gpu-1"]).with_unready(3, gpu_1=0, gpu_2=0).at(5000)
    assert deleted(most) == [], "if most nodes seem down, the control plane has lost them"
