"""A crash loop is reported with its root cause, as long as later exits can follow from it."""

import dataclasses

import pytest

from builders.observed import Scene, a_scene, condition, findings
from builders.pods import PodBuilder, a_pod
from builders.services import a_service
from llmservice_contract import causes
from llmservice_contract.causes import Cause
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.finding import Finding


def ended(cause: Cause, pod: str = "chat-0", message: str = "") -> PodBuilder:
    """A pod whose engine has ended for this cause, and waits for its next start."""
    text = message or f"It was {cause.name}."
    finding = Finding(cause.name, text, field="spec.engine.attention", fix=f"Do so for {cause.name}.")
    said = Diagnosis(finding, cause.exit_code)
    return a_pod(pod).waiting("CrashLoopBackOff").ended_before(cause.exit_code, said.to_json())


def one_after_another(*states: PodBuilder | tuple[PodBuilder, ...]) -> Scene:
    """A service whose pods were seen in these states."""
    first = states[0] if isinstance(states[0], tuple) else (states[0],)
    scene = a_scene(a_service().with_replicas(len(first))).settled()
    for number, state in enumerate(states):
        scene = scene.at(60 * number).with_pods(*(state if isinstance(state, tuple) else (state,)))
        if number < len(states) - 1:
            scene = reported(scene)
    return scene


def reported(scene: Scene) -> Scene:
    """After the status was written."""
    return dataclasses.replace(scene, service={**scene.service, "status": scene.plan().status})


def reasons(scene: Scene) -> list[str]:
    return [each["reason"] for each in findings(scene.plan())]


FOLLOW = {
    "a file that the full disk cut short": (causes.DISK_FULL, causes.BROKEN_WEIGHTS),
    "a file that a kill cut short": (causes.OOM_KILLED, causes.NO_WEIGHTS),
    "memory that a dead one holds": (causes.GPU_OUT_OF_MEMORY, causes.GPU_MEMORY_TAKEN),
    "a port that a dead one holds": (causes.GPU_FAULT, causes.PORT_IN_USE),
    "no word at all": (causes.CONTEXT_TOO_LONG, causes.UNKNOWN),
    "a hub that is away now": (causes.CONTEXT_TOO_LONG, causes.HUB_UNREACHABLE),
}
PUT_RIGHT = {
    "another Secret": (causes.HUB_REFUSED, causes.CONTEXT_TOO_LONG),
    "a disk with room": (causes.DISK_FULL, causes.CONTEXT_TOO_LONG),
    "a model that was copied": (causes.NO_WEIGHTS, causes.BROKEN_WEIGHTS),
}


@pytest.mark.parametrize("name", FOLLOW)
def test_what_may_follow_from_the_first_end_does_not_hide_it(name: str) -> None:
    first, later = FOLLOW[name]
    scene = one_after_another(ended(first), ended(later))
    assert reasons(scene) == [first.name, later.name.replace("Unknown", "Crashed")]
    made = scene.plan()
    assert condition(made, "Ready")["reason"] == condition(made, "Stalled")["reason"] == first.name
    assert f"Do so for {first.name}" in condition(made, "Ready")["message"]
    again = reported(scene).at(300)
    assert again.plan().status == scene.plan().status, "it is reported once"
    assert reasons(reported(again)) == reasons(scene)


@pytest.mark.parametrize("name", PUT_RIGHT)
def test_what_can_not_follow_takes_its_place(name: str) -> None:
    first, later = PUT_RIGHT[name]
    assert reasons(one_after_another(ended(first), ended(later))) == [later.name]


def test_the_first_of_many_counts() -> None:
    scene = one_after_another(
        ended(causes.DISK_FULL),
        ended(causes.KILLED),
        a_pod().loading(),
        ended(causes.BROKEN_WEIGHTS),
    )
    assert reasons(scene) == ["BrokenWeights"], "it loaded in between, and nothing was the matter"
    assert reasons(one_after_another(ended(causes.DISK_FULL), ended(causes.KILLED), ended(causes.BROKEN_WEIGHTS))) == [
        "DiskFull",
        "BrokenWeights",
    ]


def test_a_start_in_between_is_told_as_the_end_before_it() -> None:
    again = a_pod().loading()
    said = Diagnosis(Finding("BrokenWeights", "cut"), 93).to_json()
    scene = one_after_another(ended(causes.DISK_FULL), again.ended_before(93, said))
    assert reasons(scene) == ["DiskFull", "BrokenWeights"]


def test_the_same_cause_with_other_numbers_is_told_with_those() -> None:
    scene = one_after_another(
        ended(causes.GPU_MEMORY_TAKEN, message="61 GiB are free."), ended(causes.GPU_MEMORY_TAKEN, message="60 are.")
    )
    (found,) = findings(scene.plan())
    assert found["message"].endswith("60 are.")


def test_of_ends_that_nobody_knows_the_first_is_told_beside_the_latest() -> None:
    scene = one_after_another(
        ended(causes.UNKNOWN, message="KeyError: 'layer.7'"), ended(causes.UNKNOWN, message="OSError: taken")
    )
    first, latest = findings(scene.plan())
    assert "layer.7" in first["message"] and "taken" in latest["message"]
    assert first["certainty"] == latest["certainty"] == "Likely"


def test_another_spec_begins_anew() -> None:
    scene = one_after_another(ended(causes.DISK_FULL), ended(causes.BROKEN_WEIGHTS)).with_spec(engine={"maxNumSeqs": 3})
    assert reasons(scene) == ["BrokenWeights"]


def test_the_end_of_a_pod_that_serves_now_is_no_reason_for_another() -> None:
    both = ended(causes.DISK_FULL, "chat-0"), ended(causes.KILLED, "chat-1")
    scene = one_after_another(both, (a_pod("chat-0").ready(), ended(causes.KILLED, "chat-1")))
    assert reasons(scene) == ["Killed"]


def test_the_first_end_of_several_pods_counts_for_all() -> None:
    first = tuple(ended(causes.DISK_FULL, f"chat-{number}") for number in range(3))
    later = tuple(ended(causes.BROKEN_WEIGHTS, f"chat-{number}") for number in range(3))
    scene = one_after_another(first, later)
    assert reasons(scene) == ["DiskFull", "BrokenWeights"]
    assert findings(scene.plan())[1]["affectedPods"] == 3
    assert reported(scene).plan().status == scene.plan().status
