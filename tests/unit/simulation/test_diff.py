"""The diff of a spec change: each child, field by field, and what restarts pods."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from builders.observed import Scene, a_scene
from builders.services import a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import names
from llmservice_operator.resources.children import make_children
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Adapter, Network, Platform
from llmservice_operator.simulation import spec_effects
from llmservice_operator.simulation.diff import Change, ChildChange, children, fields_of
from llmservice_operator.simulation.server_side_apply import MANAGER, applied, as_applied

OWNER = Owner("chat", "team-a", "uid-chat")


def reported(before: Scene, **change: Any) -> dict[str, ChildChange]:
    """What becomes of the children of a settled service, by kind."""
    live = {(child["kind"], child["metadata"]["name"]): child for child in before.settled().children}
    wanted = {
        (each["kind"], each["metadata"]["name"]): each for each in before.settled().with_spec(**change).plan().objects
    }
    return {each.kind: each for each in children(live, wanted)}


@pytest.fixture
def scene() -> Scene:
    return a_scene(a_service().with_replicas(2)).on(Platform(adapter=Adapter.OWN))


def test_what_stays_the_same_is_not_told(scene: Scene) -> None:
    assert reported(scene) == {}


def test_an_environment_takes_the_place_of_the_one_before(scene: Scene) -> None:
    changes = reported(scene, engine={"maxNumSeqs": 16})
    assert set(changes) == {"ConfigMap"}, "that the template names another ConfigMap is no news of its own"
    change = changes["ConfigMap"]
    assert (change.change, change.before != change.name) == (Change.REPLACE, True)
    assert [(field.path, field.before, field.after) for field in change.fields] == [
        ("data.ENGINE_MAX_NUM_SEQS", None, "16")
    ]


def test_a_configmap_with_the_same_content_reads_as_a_rename(scene: Scene) -> None:
    live = {(child["kind"], child["metadata"]["name"]): child for child in scene.settled().children}
    environment = next(child for child in live.values() if child.get("immutable"))
    other = copy.deepcopy(environment)
    other["metadata"]["name"] = "chat-0123456789"
    wanted = {key: each for key, each in live.items() if each is not environment}
    (change,) = children(live, {**wanted, ("ConfigMap", "chat-0123456789"): other})
    assert (change.change, change.before, change.fields) == (Change.RENAME, environment["metadata"]["name"], ())


def test_policies_are_told_field_by_field(scene: Scene) -> None:
    (field,) = reported(scene, access={"caps": {"maxTokens": 7}})["ConfigMap"].fields
    assert (field.path, field.after) == ("data[access.json].caps.maxTokens", 7)


def test_the_job_that_reads_a_model_is_no_child_to_tell_of(scene: Scene) -> None:
    assert "Job" not in reported(scene, parallelism={"tensor": 2})


def test_resources_are_told_by_name() -> None:
    fields = reported(a_scene(a_service().read()), parallelism={"tensor": 2})
    paths = {field.path for field in fields["StatefulSet"].fields}
    assert "spec.template.spec.containers[engine].resources.limits[nvidia.com/gpu]" in paths


def test_defaults_and_fields_of_others_are_no_difference() -> None:
    live = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "chat",
            "labels": {"ours": "1", "theirs": "2"},
            "managedFields": [
                {
                    "manager": MANAGER,
                    "operation": "Apply",
                    "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:ours": {}}},
                        "f:spec": {
                            "f:type": {},
                            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}},
                        },
                    },
                }
            ],
        },
        "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "protocol": "TCP"}]},
    }
    desired = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "chat", "labels": {}},
        "spec": {"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]},
    }
    assert as_applied(live)["spec"] == {"type": "ClusterIP", "ports": [{"port": 80}]}
    after = applied(live, as_applied(live), desired)
    assert after["spec"] == live["spec"]
    assert after["metadata"]["labels"] == {"theirs": "2"}, "what only the operator wanted goes"


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"cpu": "1000m"}, {"cpu": "1"}, []),
        ({"cpu": "1000m"}, {"cpu": "2"}, ["resources.requests.cpu"]),
    ],
)
def test_quantities_are_compared_as_such(before: Any, after: Any, paths: list[str]) -> None:
    one, other = {"resources": {"requests": before}}, {"resources": {"requests": after}}
    assert [field.path for field in fields_of(one, other)] == paths


def test_of_a_spec_every_word_counts() -> None:
    found = fields_of({"rollout": {}}, {"rollout": {"maxUnavailable": 0}}, "spec", exact=True)
    assert [(field.path, field.after) for field in found] == [("spec.rollout.maxUnavailable", 0)]


@pytest.mark.parametrize(
    ("change", "restarts", "kinds"),
    [
        ({"model": {"maxContextLength": 2048}}, True, ("ConfigMap", "StatefulSet")),
        ({"replicas": 3}, False, ("StatefulSet",)),
        ({"access": {"caps": {"maxTokens": 7}}}, False, ("ConfigMap",)),
        ({"rollout": {"onFailure": "Pause"}}, False, ()),
        ({"scheduling": {"nodeSelector": {"example.com/pool": "a"}}}, True, ("StatefulSet",)),
        ({"scheduling": {"priorityClassName": "high"}}, True, ("StatefulSet",)),
        ({"shutdown": {"drainSeconds": 90}}, True, ("ConfigMap", "StatefulSet")),
    ],
)
def test_each_field_tells_what_it_does_by_itself(
    change: dict[str, Any], restarts: bool, kinds: tuple[str, ...]
) -> None:
    before = a_service().with_replicas(2)
    after = before.with_spec(**change)
    (found,) = spec_effects.of_change(OWNER, before.build()["spec"], after.build()["spec"], Platform())
    assert found.restarts == restarts
    assert set(kinds) <= set(found.children)


def test_of_several_fields_each_is_told_apart() -> None:
    before = a_service().with_replicas(2).build()["spec"]
    after = a_service().with_replicas(3).with_spec(model={"maxContextLength": 2048}).build()["spec"]
    found = {each.field.path: each.restarts for each in spec_effects.of_change(OWNER, before, after, Platform())}
    assert found == {"spec.model.maxContextLength": True, "spec.replicas": False}


def test_asking_what_a_field_does_leaves_the_rendered_children_as_they_are() -> None:
    service = a_service().spread_over(tensor=2, nodes=2)
    platform = Platform(network=Network())
    before, after = service.build()["spec"], service.with_replicas(3).build()["spec"]
    rendered = list(make_children(OWNER, LLMServiceSpec.model_validate(before), platform, 3))
    kept = copy.deepcopy(rendered)
    assert spec_effects.of_change(OWNER, before, after, platform)
    assert rendered == kept == list(make_children(OWNER, LLMServiceSpec.model_validate(before), platform, 3))


def test_own_annotations_are_never_told(scene: Scene) -> None:
    for change in reported(scene, engine={"maxNumSeqs": 16}, replicas=3).values():
        assert not any(names.APPLIED_ANNOTATION in field.path or "rollout" in field.path for field in change.fields)
