"""What a service may ask for of nodes and priorities: the lists, for objects that the API server let pass."""

from typing import Any

import pytest

from builders.observed import Scene, a_scene
from builders.pods import a_pod
from builders.services import a_service
from llmservice_operator.config.settings import SettingsError, from_environment
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.resources.placements import AllowedPlacement
from llmservice_operator.resources.platform import Platform

Json = dict[str, Any]
VARIABLE = "LLMSERVICE_ALLOWED_PLACEMENT"
PLATFORM = Platform(allowed_placement=AllowedPlacement(priority_class_names=("serving",)))


def scene(scheduling: Json) -> Scene:
    return a_scene(a_service().with_replicas(1).with_spec(scheduling=scheduling)).on(PLATFORM)


def accepted(made: Plan) -> Json:
    assert made.status is not None
    (found,) = (each for each in made.status["conditions"] if each["type"] == "Accepted")
    return dict(found)


DENIED: dict[str, tuple[Json, str]] = {
    "every taint": ({"tolerations": [{"operator": "Exists"}]}, "spec.scheduling.tolerations[0]"),
    "a control plane's taint": (
        {"tolerations": [{"key": "nvidia.com/gpu"}, {"key": "node-role.kubernetes.io/control-plane"}]},
        "spec.scheduling.tolerations[1]",
    ),
    "a control plane's label": (
        {"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}},
        "spec.scheduling.nodeSelector",
    ),
    "the cluster's own priority": ({"priorityClassName": "system-node-critical"}, "spec.scheduling.priorityClassName"),
    "a runtime": ({"runtimeClassName": "privileged"}, "spec.scheduling.runtimeClassName"),
    "a scheduler": ({"schedulerName": "packer"}, "spec.scheduling.schedulerName"),
}


@pytest.mark.parametrize("name", DENIED)
def test_what_is_not_allowed_is_named_and_nothing_is_made(name: str) -> None:
    scheduling, field = DENIED[name]
    made = scene(scheduling).plan()
    found = accepted(made)
    assert (found["status"], found["reason"]) == ("False", "PlacementNotAllowed")
    assert made.status is not None
    (finding,) = made.status["findings"]
    assert finding["field"] == field
    assert "chart value allowed." in finding["fix"]
    assert not made.objects
    assert not made.deletions


def test_what_is_allowed_is_made() -> None:
    good = {
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "nodeSelector": {"pool": "a"},
        "priorityClassName": "serving",
        "runtimeClassName": "nvidia",
    }
    made = scene(good).plan()
    assert accepted(made)["status"] == "True"
    assert made.objects


def test_what_runs_goes_on_where_the_lists_become_shorter() -> None:
    before = scene({"priorityClassName": "serving"}).settled().with_pods(a_pod().ready()).settled()
    made = before.on(Platform(allowed_placement=AllowedPlacement())).plan()
    assert accepted(made)["reason"] == "PlacementNotAllowed"
    assert (made.objects, made.deletions, made.releases) == ((), (), ())
    assert made.status is not None
    (serving,) = (each for each in made.status["conditions"] if each["type"] == "Serving")
    assert serving["status"] == "True"


@pytest.mark.parametrize(
    "text",
    [
        "[]x",
        '"a"',
        '["tolerations"]',
        '{"tolerations": "a"}',
        '{"tolerations": [1]}',
        '{"tolerations": ["a b"]}',
        '{"taints": []}',
        '{"schedulerNames": ["a=b"]}',
        "[" * 100_000,
    ],
)
def test_lists_that_can_not_be_read_are_a_problem(text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        from_environment({VARIABLE: text})
    assert len(raised.value.problems) == 1
    assert VARIABLE in raised.value.problems[0]
    assert len(raised.value.problems[0]) < 400


def test_a_list_that_is_absent_has_its_default_and_an_empty_one_allows_nothing() -> None:
    found = from_environment(
        {VARIABLE: '{"tolerations": [], "priorityClassNames": ["a-*"]}'}
    ).platform.allowed_placement
    assert found is not None
    assert (found.tolerations, found.priority_class_names) == ((), ("a-*",))
    assert found.scheduler_names == AllowedPlacement().scheduler_names
