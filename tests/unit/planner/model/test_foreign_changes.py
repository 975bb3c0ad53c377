"""Who owns a field, by an object's managedFields as the API server has them; and which fields differ."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from builders.observed import a_scene, leader
from llmservice_operator.planner.model import drift
from llmservice_operator.planner.model.drift import Path
from llmservice_operator.planner.model.foreign_changes import NO_MANAGER, owners, text_of
from llmservice_operator.planner.model.replicas_owner import OPERATOR
from unit.planner.model.test_drift import DRIFT, NO_DRIFT, statefulset

Json = dict[str, Any]
ENGINE = (("name", "engine"),)
CONTAINER: Path = ("spec", "template", "spec", "containers", ENGINE)

APPLIED: Json = {
    "manager": OPERATOR,
    "operation": "Apply",
    "fieldsV1": {
        "f:spec": {
            "f:replicas": {},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"engine"}': {
                            ".": {},
                            "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                            "f:image": {},
                            "f:ports": {'k:{"containerPort":8000,"protocol":"TCP"}': {".": {}, "f:name": {}}},
                        }
                    },
                    "f:tolerations": {},
                }
            },
        }
    },
}


def by(manager: str, path: Path, operation: str = "Update") -> Json:
    """An entry that owns one field."""
    tree: Json = {}
    for step in reversed(path):
        key = f"f:{step}" if isinstance(step, str) else f"k:{json.dumps(dict(step))}"
        tree = {key: tree}
    return {"manager": manager, "operation": operation, "fieldsV1": tree}


@pytest.mark.parametrize(
    "path",
    [
        (*CONTAINER, "image"),
        (*CONTAINER, "env", (("name", "A"),)),
        (*CONTAINER, "ports", (("containerPort", 8000), ("protocol", "TCP")), "name"),
        (*CONTAINER, "ports", (("containerPort", 8000),), "name"),
        ("spec", "template", "spec", "tolerations"),
    ],
)
def test_a_field_that_the_operator_applied_is_its_own_until_another_manager_writes_it(path: Path) -> None:
    assert owners([APPLIED], [path]) == {path: OPERATOR}
    assert owners([APPLIED, by("kubectl-edit", path)], [path]) == {path: "kubectl-edit"}
    assert owners([by("kubectl-edit", (*path, "x")), APPLIED], [path]) == {path: "kubectl-edit"}, "a part of it"


def test_a_field_that_no_manager_owns_was_removed_by_another_client() -> None:
    path = (*CONTAINER, "imagePullPolicy")
    assert owners([APPLIED], [path]) == {path: NO_MANAGER}
    assert owners([], [path]) == {path: NO_MANAGER}


def test_the_operators_own_updates_are_no_sign_of_an_admission_webhook() -> None:
    path = ("spec", "replicas")
    assert owners([APPLIED, by(OPERATOR, path)], [path]) == {path: OPERATOR}
    removed: Json = {**APPLIED, "fieldsV1": {"f:spec": {}}}
    assert owners([removed, by("kubectl", path)], [path]) == {path: "kubectl"}


@pytest.mark.parametrize("entry", [None, 1, {}, {"manager": 1}, {"fieldsV1": []}, {"fieldsV1": {"f:spec": {"k:{": 1}}}])
def test_invalid_entries_own_nothing(entry: Any) -> None:
    path = (*CONTAINER, "image")
    assert owners([entry, APPLIED], [path]) == {path: OPERATOR}


@pytest.mark.parametrize("change", [*DRIFT, *NO_DRIFT])
def test_there_is_a_difference_exactly_if_the_live_object_is_not_as_desired(change: Any) -> None:
    actual = statefulset()
    change(actual)
    found = list(drift.differences(statefulset(), actual))
    assert bool(found) == (not drift.within(statefulset(), actual))
    for each in found:
        assert each.desired != each.live


def test_the_path_of_a_difference_leads_to_one_field() -> None:
    actual = copy.deepcopy(dict(leader(a_scene().plan())))
    engine = actual["spec"]["template"]["spec"]["containers"][0]
    engine["image"] = "mirror"
    engine["resources"]["requests"]["cpu"] = "7"
    del engine["ports"][0]
    found = {text_of(each.path) for each in drift.differences(statefulset(), actual)}
    before = "spec.template.spec.containers[engine]."
    assert {f"{before}image", f"{before}resources.requests.cpu"} < found
    assert sum(each.startswith(f"{before}ports[") for each in found) == len(found) - 2
