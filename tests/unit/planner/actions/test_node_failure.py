"""Pods on nodes that are lost are deleted by force, and no others."""

from __future__ import annotations

import pytest

from builders.observed import Scene, a_scene, condition
from builders.pods import PodBuilder, a_pod
from builders.services import a_service
from llmservice_operator.planner.actions.node_failure import LOOK_AGAIN_SECONDS
from llmservice_operator.planner.model.observed import Input


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
    assert Input.HEALTH in scene.at(600).plan().requires
    known = scene.with_unready(3, gpu_0=500)
    assert forced(known.at(619)) == []
    assert known.at(619).plan().requeue_after == 1
    assert forced(known.at(620)) == ["chat-0"]


def test_pods_that_answer_and_nodes_that_are_ready_are_left_alone() -> None:
    ready = a_pod("chat-0").ready().with_spec(nodeName="gpu-0")
    scene = with_pods(ready)
    assert Input.HEALTH not in scene.plan().requires
    assert forced(scene.with_unready(3, gpu_0=0).at(5000)) == []
    loading = with_pods(a_pod("chat-0").loading().with_spec(nodeName="gpu-0"))
    assert forced(loading.with_unready(3, gpu_1=0).at(5000)) == []


def test_where_half_of_the_nodes_seem_down_nothing_is_done() -> None:
    scene = with_pods(a_pod("chat-0").silent(since="2026-01-01T12:00:01Z").with_spec(nodeName="gpu-0"))
    assert forced(scene.with_unready(4, gpu_0=0, gpu_1=0).at(5000)) == ["chat-0"]
    assert forced(scene.with_unready(3, gpu_0=0, gpu_1=0).at(5000)) == []


@pytest.mark.parametrize(
    "pod",
    [a_pod().silent(since="2026-01-01T12:00:01Z"), a_pod().ready().going(), a_pod().waiting("ContainerCreating")],
    ids=["silent", "going", "starting"],
)
def test_nodes_are_looked_at_again_as_no_event_tells_of_a_node_that_is_lost_later(pod: PodBuilder) -> None:
    answering = with_pods(pod.with_spec(nodeName="gpu-0")).with_unready(3).at(600).plan()
    assert answering.requeue_after is not None and answering.requeue_after <= LOOK_AGAIN_SECONDS
    well = with_pods(a_pod().ready().with_spec(nodeName="gpu-0")).at(600).plan()
    assert well.requeue_after is None


@pytest.mark.parametrize("pod", [a_pod().silent(since="2026-01-01T12:00:01Z"), a_pod().loading()])
def test_a_node_that_does_not_answer_is_told(pod: PodBuilder) -> None:
    plan = with_pods(pod.with_spec(nodeName="gpu-0")).with_unready(3, gpu_0=500).at(530).plan()
    for kind in ("Serving", "Ready"):
        reported = condition(plan, kind)["message"]
        assert reported.startswith("chat-0: its node gpu-0 has not been Ready since 2026-01-01T12:08:20Z; "), reported
        assert condition(plan, kind)["reason"] == "NodeLost"


def test_what_an_engine_ended_for_is_told_whatever_its_node_does() -> None:
    plan = with_pods(a_pod().ended(1, "no").with_spec(nodeName="gpu-0")).with_unready(3, gpu_0=500).at(530).plan()
    assert condition(plan, "Ready")["reason"] == "Crashed"
    assert "gpu-0" not in condition(plan, "Ready")["message"]
