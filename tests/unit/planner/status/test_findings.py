"""What is the matter, as status.findings lists it: reason, how sure, field and advice, for each cause in a cluster."""

import dataclasses
from typing import Any

import pytest

from builders.causes.admission import ADMISSION
from builders.causes.engines import ENGINES
from builders.causes.provisions import PROVISIONS
from builders.causes.scenes import Row, with_pods
from builders.causes.scheduler import SCHEDULER
from builders.observed import Scene, a_scene, condition, findings
from builders.pods import PodBuilder, a_pod
from builders.services import a_service
from llmservice_contract import causes
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.finding import Finding

TABLE: dict[str, Row] = {**SCHEDULER, **ADMISSION, **PROVISIONS, **ENGINES}


def first(scene: Scene) -> dict[str, Any]:
    return findings(scene.plan())[0]


@pytest.mark.parametrize("name", TABLE)
def test_each_cause_has_its_reason_certainty_field_and_advice(name: str) -> None:
    scene, reason, certainty, field, words = TABLE[name]
    found = first(scene)
    assert (found["reason"], found["certainty"], found.get("field")) == (reason, certainty, field), found
    assert words in f"{found['message']} {found.get('alternative', '')} {found.get('fix', '')}", found
    assert found.get("fix") or reason == "HeadsNotDivisible", found
    assert (certainty == "Likely") == bool(found.get("alternative")), found


@pytest.mark.parametrize("name", TABLE)
def test_conditions_say_the_same(name: str) -> None:
    scene, reason, _, _, words = TABLE[name]
    made = scene.plan()
    ready = condition(made, "Ready")
    evicted = scene.pods and scene.pods[0]["status"].get("phase") == "Failed"
    kind = "Serving" if evicted else "Ready"  # one that was evicted has no node
    assert (ready["status"], condition(made, kind)["reason"]) == ("False", reason)
    reported = condition(made, kind)["message"].lower()
    assert words.lower().removesuffix(".") in reported, reported


@pytest.mark.parametrize("name", TABLE)
def test_what_is_told_is_told_once(name: str) -> None:
    """A look at the same things again, a while later, changes no word."""
    scene = TABLE[name][0]
    reported = dataclasses.replace(scene, service={**scene.service, "status": scene.plan().status})
    assert reported.plan().status == scene.plan().status
    later = dataclasses.replace(reported, seconds=reported.seconds + 7).plan()
    assert later.status == scene.plan().status
    assert not later.events


ROUTINE: dict[str, Scene] = {
    "a new one": a_scene(),
    "pods on their way": with_pods(a_pod()),
    "an image on its way": with_pods(a_pod().waiting("ContainerCreating")),
    "loading": with_pods(a_pod().loading()),
    "ready": with_pods(a_pod().ready()).settled(),
    "none asked for": a_scene(a_service().with_replicas(0)).settled(),
}


@pytest.mark.parametrize("name", ROUTINE)
def test_what_passes_by_itself_is_no_finding(name: str) -> None:
    assert findings(ROUTINE[name].plan()) == []


def ended(number: int, cause: causes.Cause = causes.DISK_FULL, message: str = "A volume is full.") -> PodBuilder:
    finding = Finding(cause.name, message, field="spec.x", fix="Do this.")
    words = Diagnosis(finding, cause.exit_code).to_json()
    return a_pod(f"chat-{number}").ended(cause.exit_code, words)


def test_equal_findings_of_several_pods_are_one() -> None:
    made = with_pods(ended(0), a_pod("chat-1").ready(), ended(2), ended(3)).plan()
    (found,) = findings(made)
    assert (found["reason"], found["subject"], found["affectedPods"]) == ("DiskFull", "chat-0", 3)
    assert (found["numbers"], found["field"], found["fix"]) == ({"exitCode": "106"}, "spec.x", "Do this.")


def test_the_gravest_comes_first_and_there_are_eight_at_most() -> None:
    pods = [a_pod("chat-0").silent(), *(ended(number, message=f"It says {number}.") for number in range(1, 12))]
    found = findings(with_pods(*pods).plan())
    assert len(found) == 8
    assert {each["reason"] for each in found} == {"DiskFull"}
    assert [each["reason"] for each in findings(with_pods(*pods[:2]).plan())] == ["DiskFull", "NotReady"]


def test_a_service_that_is_ready_tells_what_keeps_it_from_being_scaled() -> None:
    pods = a_pod().ready()
    scene = a_scene(a_service().with_replicas(1).scaled()).settled().with_pods(pods).settled()
    (found,) = findings(scene.plan())
    assert (found["reason"], found["certainty"]) == ("NoAdapter", "Certain")
