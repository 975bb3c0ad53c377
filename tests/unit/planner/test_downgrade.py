"""A spec of a later version, as after a downgrade of the operator: what runs stays, and its number is followed."""

import dataclasses
from typing import Any

import pytest

from builders.observed import Scene, a_scene, condition
from builders.pods import a_pod
from builders.services import a_service
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.plan import Resize
from llmservice_operator.planner.model.rollout_record import Record, noted_good

NEWER = {
    "a field": {"gateway": {"type": "NGINX"}},
    "a field further in": {"engine": {"futureFlag": True}},
    "a choice": {"quantization": {"method": "int3"}},
}
WRONG = {
    "a value out of bounds": {"parallelism": {"tensor": 99}},
    "both": {"gateway": {}, "parallelism": {"tensor": 99}},
}


def running(replicas: int = 2, nodes: int = 1) -> Scene:
    service = a_service().with_replicas(replicas)
    if nodes > 1:
        facts = {"source": service.build()["spec"]["model"]["source"], "attentionHeads": 8, "layers": 8}
        return a_scene(service.spread_over(tensor=2, nodes=nodes).with_status({"model": facts})).settled()
    scene = a_scene(service).settled()
    return scene.with_pods(*(a_pod(f"chat-{number}").ready() for number in range(replicas))).settled()


def changed(scene: Scene, replicas: Any, more: dict[str, Any]) -> Scene:
    spec = {**scene.service["spec"], "replicas": replicas, **more}
    return dataclasses.replace(scene, service={**scene.service, "spec": spec})


@pytest.mark.parametrize("more", NEWER.values(), ids=NEWER)
def test_the_number_of_replicas_follows_a_spec_of_a_later_version_and_nothing_else_does(more: dict[str, Any]) -> None:
    scene = changed(running(2), 5, more)
    made = scene.plan()
    live = scene.child("StatefulSet", "chat")
    assert list(made.resizes) == [Resize("team-a", "chat", live["metadata"]["uid"], 5)]
    assert (list(made.objects), list(made.deletions), made.replicas, made.scale) == ([], [], None, None)
    accepted = condition(made, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSpec")
    assert "spec.replicas" in accepted["message"]


def test_nothing_is_written_once_the_number_is_there() -> None:
    assert list(changed(running(2), 2, NEWER["a field"]).plan().resizes) == []


@pytest.mark.parametrize("more", WRONG.values(), ids=WRONG)
def test_a_spec_that_is_wrong_in_this_version_too_changes_nothing(more: dict[str, Any]) -> None:
    made = changed(running(2), 5, more).plan()
    assert list(made.resizes) == list(made.objects) == []


@pytest.mark.parametrize("replicas", [None, -1, 1001, "5", 2.5, True])
def test_what_is_no_number_of_replicas_changes_nothing(replicas: Any) -> None:
    assert list(changed(running(2), replicas, NEWER["a field"]).plan().resizes) == []


def test_without_a_statefulset_there_is_nothing_to_follow() -> None:
    made = changed(a_scene(a_service()), 5, NEWER["a field"]).plan()
    assert list(made.resizes) == list(made.objects) == []
    assert "only the number" not in condition(made, "Accepted")["message"]


def test_all_ranks_of_a_replica_follow() -> None:
    scene = changed(running(1, nodes=2), 3, NEWER["a field"])
    assert [(each.name, each.replicas) for each in scene.plan().resizes] == [("chat", 3), ("chat-r1", 3)]


def test_the_status_is_on_the_number_that_is_followed() -> None:
    scene = changed(running(2), 3, NEWER["a field"])
    assert "2 of 3" in condition(scene.plan(), "Serving")["message"] + condition(scene.plan(), "Ready")["message"]


DEEP = "[" * 100_000


def test_annotations_that_somebody_wrote_are_read_as_none() -> None:
    live = {"metadata": {"annotations": {"llmservice.dev/rollout": DEEP, "llmservice.dev/last-good": DEEP}}}
    assert Record.of(live) is None
    assert noted_good(live) is None


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-01T12:00:00", "9" * 50, None])
def test_an_annotation_that_is_no_time_is_none(text: str | None) -> None:
    assert timestamps.parse(text) is None
