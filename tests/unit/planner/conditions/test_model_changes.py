"""Facts of a model are read again where its files may have changed under the same source."""

from __future__ import annotations

import dataclasses
import datetime

import msgspec
import pytest

from builders.observed import NOON, Scene, a_scene, condition, leader
from builders.pods import PodBuilder, a_pod, an_inspection_pod
from builders.services import ServiceBuilder, a_service
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts, failure_to_json
from llmservice_operator.planner.conditions.model_changes import LEAST_SECONDS, MOST_SECONDS
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import FitPolicy, Platform
from support.campaign import FULL

FOUR_HEADS = ModelFacts("LlamaForCausalLM", 4, 2, 4, 4096, None, 1000)
SIX_HEADS = ModelFacts("LlamaForCausalLM", 6, 6, 4, 4096, None, 1000)
COMMITS = "a" * 40, "b" * 40
GONE = Finding("ModelUnreadable", "/models/chat does not exist")
BUSY = Finding("HubUnreachable", "it answered 503", numbers={"status": "503", "retryAfterSeconds": "300"})


def at(seconds: float) -> str:
    return (NOON + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def jobs(scene: Scene) -> list[str]:
    """The Jobs that exist after the plan of now."""
    return [child["metadata"]["name"] for child in scene.applied().children if child["kind"] == "Job"]


def read(service: ServiceBuilder, facts: ModelFacts = FOUR_HEADS) -> Scene:
    """A service whose model was read at noon; its Job is gone."""
    scene = a_scene(service).applied()
    scene = scene.with_pods(an_inspection_pod(scene.child("Job")).ended(0, facts.to_json(), finishedAt=at(0)))
    return scene.applied().applied().with_pods().applied()


def read_again(scene: Scene, message: str, seconds: float, *pods: PodBuilder, code: int = 0) -> Scene:
    """After the Job that the plan of now makes has ended."""
    made = scene.applied()
    pod = an_inspection_pod(made.child("Job")).ended(code, message, finishedAt=at(seconds))
    return made.at(seconds).with_pods(pod, *pods).applied()


def refreshed(scene: Scene, value: str = "now") -> Scene:
    meta = {**scene.service["metadata"], "annotations": {names.REFRESH_ANNOTATION: value}}
    return dataclasses.replace(scene, service={**scene.service, "metadata": meta})


def refused() -> Scene:
    """A claim whose model has 4 heads, which can't be divided by 3."""
    scene = read(a_service().spread_over(tensor=3))
    assert condition(scene.plan(), "Accepted")["reason"] == "HeadsNotDivisible"
    assert jobs(scene) == []
    return scene


def test_a_check_that_fails_is_made_again_after_some_minutes() -> None:
    scene = refused()
    assert jobs(scene.at(LEAST_SECONDS - 10)) == []
    assert scene.at(10).plan().requeue_after == LEAST_SECONDS - 10
    again = read_again(scene.at(LEAST_SECONDS), SIX_HEADS.to_json(), LEAST_SECONDS + 20)
    assert again.service["status"]["model"]["attentionHeads"] == 6
    assert condition(again.plan(), "Accepted")["status"] == "True"
    assert leader(again.plan())
    assert jobs(again) == [], "the Job goes, and no other follows"


def test_checks_get_rarer_the_longer_they_fail() -> None:
    scene, now, pauses = refused(), 0.0, []
    for _ in range(8):
        left = scene.plan().requeue_after
        assert left is not None
        pauses.append(left)
        now += left
        scene = read_again(scene.at(now), FOUR_HEADS.to_json(), now).with_pods().applied()
        assert condition(scene.plan(), "Accepted")["reason"] == "HeadsNotDivisible"
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (LEAST_SECONDS, MOST_SECONDS)


def test_a_new_value_of_the_refresh_annotation_has_it_read_at_once_and_once() -> None:
    scene = refreshed(refused().at(5))
    again = read_again(scene, SIX_HEADS.to_json(), 20).with_pods().applied()
    assert condition(again.plan(), "Accepted")["status"] == "True"
    assert jobs(again) == []
    assert jobs(refreshed(again, "later")) == [], "every change of a key sets the annotation"
    assert len(jobs(refreshed(again.at(20 + LEAST_SECONDS), "later"))) == 1


def test_a_failed_inspection_is_tried_at_once_after_a_refresh() -> None:
    scene = a_scene(a_service().spread_over(tensor=2)).applied()
    first = scene.child("Job")["metadata"]["name"]
    failed = scene.with_pods(
        an_inspection_pod(scene.child("Job")).ended(66, failure_to_json(GONE), finishedAt=at(0))
    ).applied()
    assert jobs(failed) == [first]
    (second,) = jobs(refreshed(failed))
    assert second != first


def running(source: str = "pvc://models/chat") -> Scene:
    """A service of one GPU, whose model was read at noon, and whose engine answers."""
    scene = read(a_service().from_source(source).spread_over(tensor=2).with_replicas(1))
    return scene.settled().with_pods(a_pod().made_at(at(5)).loading(at(10)).ready()).settled()


def test_the_first_start_reads_nothing_again() -> None:
    assert jobs(running().at(3600)) == []


@pytest.mark.parametrize("source", ["pvc://models/chat", "s3://bucket/chat"])
def test_a_restart_reads_it_again(source: str) -> None:
    scene = running(source).at(7200)
    pod = a_pod().made_at(at(5)).loading(at(7100)).ended_before(137)
    again = read_again(scene.with_pods(pod), SIX_HEADS.to_json(), 7230, pod)
    assert again.service["status"]["model"]["attentionHeads"] == 6
    assert jobs(again) == []


def test_a_new_pod_reads_it_again() -> None:
    scene = running().at(7200).with_pods(a_pod().made_at(at(7000)).loading(at(7100)))
    assert len(jobs(scene)) == 1


def test_a_crash_loop_reads_it_ever_more_rarely() -> None:
    scene, readings = running(), 0
    for now in range(600, 600 + (12 if FULL else 6) * 3600, 120):
        pod = a_pod().made_at(at(5)).loading(at(now - 30)).ended_before(1)
        scene = scene.at(now).with_pods(pod).applied()
        if [child for child in scene.children if child["kind"] == "Job"]:
            readings += 1
            ended = an_inspection_pod(scene.child("Job")).ended(0, FOUR_HEADS.to_json(), finishedAt=at(now))
            scene = scene.with_pods(pod, ended).applied().with_pods(pod).applied()
    assert 5 < readings < 20


@pytest.mark.parametrize("failure", [GONE, BUSY])
def test_what_runs_stays_if_it_can_not_be_read_again(failure: Finding) -> None:
    before = running()
    scene = refreshed(before.at(7200))
    failed = read_again(scene, failure_to_json(failure), 7230, code=66)
    for kind in ("Accepted", "Fits", "RolledOut"):
        assert condition(failed.plan(), kind) == condition(before.plan(), kind)
    assert failed.service["status"]["model"] == before.service["status"]["model"]
    later = failed.at(7230 + 700).applied()
    assert len(jobs(later)) == 1, "it is tried again"


HUB = a_service().from_source("hf://org/chat")


def commit(number: int, facts: ModelFacts) -> ModelFacts:
    return msgspec.structs.replace(facts, revision=COMMITS[number])


def test_a_branch_that_no_pod_uses_is_resolved_again() -> None:
    scene = read(HUB.spread_over(tensor=3), commit(0, FOUR_HEADS))
    again = read_again(scene.at(LEAST_SECONDS), commit(1, SIX_HEADS).to_json(), LEAST_SECONDS + 9)
    assert again.service["status"]["model"]["revision"] == COMMITS[1]
    assert condition(again.plan(), "Accepted")["status"] == "True"


def test_a_commit_that_pods_use_stays() -> None:
    scene = read(HUB.spread_over(tensor=2).with_replicas(1), commit(0, FOUR_HEADS)).settled()
    scene = scene.with_pods(a_pod().made_at(at(5)).loading(at(7100)).ended_before(137)).at(7200)
    assert jobs(refreshed(scene)) == []
    assert scene.plan().status["model"]["revision"] == COMMITS[0]


def test_a_commit_in_the_spec_is_read_once() -> None:
    service = a_service().from_source("hf://org/chat", revision=COMMITS[0]).spread_over(tensor=3)
    scene = read(service, commit(0, FOUR_HEADS))
    assert condition(scene.plan(), "Accepted")["reason"] == "HeadsNotDivisible"
    assert jobs(refreshed(scene.at(7200))) == []


def test_facts_of_an_earlier_version_have_no_time_and_stay() -> None:
    scene = a_scene(a_service().spread_over(tensor=2).read()).settled()
    scene = scene.with_pods(a_pod().made_at(at(5)).loading(at(7100)).ended_before(137)).at(7200)
    assert jobs(scene) == []


def test_an_inspection_that_nothing_waits_for_is_tried_again_and_says_when() -> None:
    scene = a_scene(a_service()).on(Platform(fit_policy=FitPolicy.WARN)).applied()
    pod = an_inspection_pod(scene.child("Job")).ended(66, failure_to_json(BUSY), finishedAt=at(0))
    failed = scene.with_pods(pod).applied()
    fits = condition(failed.plan(), "Fits")
    assert (fits["status"], fits["reason"]) == ("Unknown", "HubUnreachable")
    assert f"next try at {at(600)}" in fits["message"]
    assert condition(failed.plan(), "Accepted")["status"] == "True"
    (gone,) = [each for each in failed.at(600).plan().deletions if each.kind == "Job"]
    assert gone.name == scene.child("Job")["metadata"]["name"]
    assert condition(failed.at(600).applied().with_pods().plan(), "Fits")["reason"] == "HubUnreachable"


def busy_hub(asked: str) -> Scene:
    scene = a_scene(a_service().spread_over(tensor=2)).applied()
    failure = Finding("HubUnreachable", "429", numbers={"retryAfterSeconds": asked})
    return scene.with_pods(an_inspection_pod(scene.child("Job")).ended(66, failure_to_json(failure), finishedAt=at(0)))


def test_the_next_try_is_when_the_server_asks_for_it() -> None:
    made = busy_hub("300").plan()
    assert made.requeue_after == 300
    assert f"next try at {at(300)}" in condition(made, "Accepted")["message"]


@pytest.mark.parametrize("asked", ["9" * 30, "-5", "x", ""])
def test_no_server_delays_the_next_try_for_years(asked: str) -> None:
    left = busy_hub(asked).plan().requeue_after
    assert left is not None and left <= 600
