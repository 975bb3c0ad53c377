"""Events of a service: only new facts are reported, and Events are read only if they add facts."""

import dataclasses
from collections.abc import Callable

import pytest

from builders.causes.scenes import not_mounted, refused, with_pods
from builders.observed import Scene, condition, findings
from builders.pods import a_pod
from llmservice_operator.planner.model.observed import Input


def test_an_event_of_before_the_newest_pod_is_no_news() -> None:
    scene = refused("teapot").with_pods(a_pod().ready().made_at("2026-01-01T12:00:05Z"))
    more = dataclasses.replace(scene, service={**scene.service, "spec": {**scene.service["spec"], "replicas": 2}})
    assert [each["reason"] for each in findings(more.at(10).plan())] == []
    assert condition(more.at(10).plan(), "Scheduled")["reason"] == "PodsMissing"


@pytest.mark.parametrize(
    "scene",
    [
        not_mounted("MountVolume.SetUp failed: failed to sync configmap cache: timed out waiting for the condition"),
        not_mounted("it failed").at(700),
        not_mounted("it failed").with_pods(a_pod().waiting("ContainerCreating").mounted()),
        with_pods(a_pod().loading()).reporting("Pod", "chat-0", "FailedMount", "it failed"),
        with_pods(a_pod().waiting("ContainerCreating")).reporting("Pod", "chat-0", "FailedMount", "no", uid="other"),
    ],
    ids=["a slow cache", "long ago", "mounted by now", "running", "of a pod before"],
)
def test_what_failed_once_and_went_well_then_is_not_told(scene: Scene) -> None:
    assert findings(scene.plan()) == []


def test_events_are_asked_for_where_they_say_more_and_looked_at_again() -> None:
    asking: list[Callable[[], Scene]] = [
        lambda: with_pods(),
        lambda: with_pods(a_pod().waiting("ContainerCreating")),
        lambda: with_pods(a_pod().claiming("m").unschedulable("pod has unbound immediate PersistentVolumeClaims")),
    ]
    for make in asking:
        made = make().plan()
        assert Input.EVENTS in made.requires and made.requeue_after is not None and made.requeue_after <= 20
    for pod in (a_pod(), a_pod().ready(), a_pod().waiting("ErrImagePull", "x"), a_pod().ended(3, "boom")):
        assert Input.EVENTS not in with_pods(pod).plan().requires
    assert Input.EVENTS in with_pods(a_pod().ended(137)).plan().requires
    read = with_pods(a_pod().waiting("ContainerCreating")).reporting("Pod", "x", "y", "z")
    assert Input.EVENTS not in read.plan().requires
