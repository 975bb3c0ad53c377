"""Pods on nodes that are lost are deleted by force, and no others."""

from __future__ import annotations

import pytest

from builders.observed import Scene, a_scene
from builders.pods import PodBuilder, a_pod
from builders.services import a_service


def with_pods(*pods: PodBuilder) -> Scene:
    scene = a_scene(a_service().with_replicas(len(pods))).settled()
    return scene.with_pods(*pods).settled()


def forced(scene: Scene) -> list[str]:
    return [gone.name for gone in scene.plan().deletions if gone.force]


@pytest.mark.parametrize(
    "state",
    [
        lambda pod: pod.silent(since="2026-01-01T12:00:01Z"),
        lambda pod: pod.loading(),
        lambda pod: pod.ready().going(),
        lambda pod: pod.waiting("ContainerCreating"),
    ],
    ids=["silent", "loading", "going", "starting"],
)
def test_a_pod_on_a_lost_node_goes_after_the_stated_time(state: object) -> None:
    lost: PodBuilder = state(a_pod("chat-0")).with_spec(nodeName="gpu-0")  # type: ignore[operator]
    scene = with_pods(lost, a_pod("chat-1").ready().with_spec(nodeName="gpu-1"))
    assert scene.at(600).plan().needs_health
    known = scene.with_unready(3, gpu_0=500)
    assert forced(known.at(619)) == []
    assert known.at(619).plan().requeue_after == 1
    assert forced(known.at(620)) == ["chat-0"]


def test_pods_that_answer_and_nodes_that_are_ready_are_left_alone() -> None:
    ready = a_pod("chat-0").ready().with_spec(nodeName="gpu-0")
    scene = with_pods(ready)
    assert not scene.plan().needs_health
    assert forced(scene.with_unready(3, gpu_0=0).at(5000)) == []
    loading = with_pods(a_pod("chat-0").loading().with_spec(nodeName="gpu-0"))
    assert forced(loading.with_unready(3, gpu_1=0).at(5000)) == []


def test_where_half_of_the_nodes_seem_down_nothing_is_done() -> None:
    scene = with_pods(a_pod("chat-0").silent(since="2026-01-01T12:00:01Z").with_spec(nodeName="gpu-0"))
    assert forced(scene.with_unready(4, gpu_0=0, gpu_1=0).at(5000)) == ["chat-0"]
    assert forced(scene.with_unready(3, gpu_0=0, gpu_1=0).at(5000)) == []
