"""Refs to models of the catalogue: what a service gets of one, why it may not use it, and what goes on without it."""

import dataclasses
from typing import Any

import pytest

from builders.models import a_cluster_model, a_model
from builders.observed import Scene, a_scene, condition
from builders.pods import a_pod
from builders.services import COMMIT, ServiceBuilder, a_service
from llmservice_operator.planner.model.catalogue import ref_of
from llmservice_operator.planner.model.plan import Plan, Resize
from llmservice_operator.resources.platform import Allowed, Platform

CHAT = a_service().from_catalogue("qwen")
OF_PLATFORM = a_service().from_catalogue("qwen", "ClusterLLMModel")
PINNED = {"source": "hf://org/qwen", "revision": COMMIT}


def verdict(made: Plan) -> tuple[str, str, str]:
    accepted = condition(made, "Accepted")
    return accepted["status"], accepted["reason"], accepted["message"]


def environment(made: Plan) -> dict[str, str]:
    (found,) = (each["data"] for each in made.objects if each["kind"] == "ConfigMap" and "MODEL_SOURCE" in each["data"])
    return dict(found)


@pytest.mark.parametrize(
    ("service", "model"), [(CHAT, a_model(**PINNED)), (OF_PLATFORM, a_cluster_model(**PINNED))], ids=["own", "platform"]
)
def test_a_service_with_a_ref_has_the_same_children_as_one_with_the_source(
    service: ServiceBuilder, model: dict[str, Any]
) -> None:
    plain = a_scene(a_service().with_spec(model={**PINNED, "servedNames": ["m"]})).plan()
    made = a_scene(service.with_spec(model={"servedNames": ["m"]})).with_models(model).plan()
    assert verdict(made)[0] == "True"
    assert made.objects == plain.objects


def test_the_format_credentials_and_size_are_those_of_the_catalogue() -> None:
    fields = {"format": "mistral", "credentialsRef": {"name": "token"}, "size": "7Gi"}
    plain = a_scene(a_service().with_spec(model={**PINNED, **fields})).plan()
    assert a_scene(CHAT).with_models(a_model(**PINNED, **fields)).plan().objects == plain.objects


REFUSED = {
    "no such model": (CHAT, a_model("other"), "ModelNotFound", "LLMModel team-a/qwen, which does not exist"),
    "one of another namespace": (CHAT, a_model(namespace="team-b"), "ModelNotFound", "LLMModel team-a/qwen"),
    "one of the other kind": (CHAT, a_cluster_model(), "ModelNotFound", "LLMModel team-a/qwen"),
    "one that is not of the platform": (OF_PLATFORM, a_model(), "ModelNotFound", "ClusterLLMModel qwen"),
    "a namespace that is not chosen": (
        OF_PLATFORM,
        a_cluster_model(namespaces={"names": ["team-b", "team-aa"]}),
        "ModelNotAllowed",
        "ClusterLLMModel qwen is not offered to namespace team-a",
    ),
    "a method that is not listed": (
        CHAT.with_spec(quantization={"method": "fp8"}),
        a_model(quantizations=["none", "awq"]),
        "QuantizationNotAllowed",
        "spec.quantization.method is fp8, but LLMModel team-a/qwen allows auto, none or awq",
    ),
    "a model of a later version": (
        CHAT,
        a_model(gateway="x"),
        "ModelInvalid",
        "LLMModel team-a/qwen: spec.gateway is not a field that this version",
    ),
    "a source that is none": (CHAT, a_model(source="hf://qwen"), "ModelInvalid", "must be hf://ORG/NAME"),
    "a model of which only the name is known": (
        CHAT,
        {**a_model(), "spec": {}},
        "ModelInvalid",
        "too large or too many",
    ),
    "a draft model in another hub": (
        CHAT.with_spec(engine={"speculative": {"method": "draft", "model": "https://hub.example.com/a/b"}}),
        a_model(),
        "InvalidSetting",
        "spec.engine.speculative.model is https://hub.example.com/a/b",
    ),
}


@pytest.mark.parametrize(("service", "model", "reason", "says"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_may_not_be_used_is_refused_before_anything_exists(
    service: ServiceBuilder, model: dict[str, Any], reason: str, says: str
) -> None:
    made = a_scene(service).with_models(model).plan()
    status, found, message = verdict(made)
    assert (status, found) == ("False", reason)
    assert says in message
    assert list(made.objects) == list(made.deletions) == []


@pytest.mark.parametrize("kind", ["LLMModel", "ClusterLLMModel"])
def test_a_kind_that_the_operator_can_not_read_is_reported_as_that(kind: str) -> None:
    platform = Platform(catalogue_kinds=frozenset())
    made = a_scene(a_service().from_catalogue("qwen", kind)).on(platform).plan()
    assert verdict(made)[1] == "ModelNotFound"
    assert f"the operator can't read objects of kind {kind}" in verdict(made)[2]


def test_auto_and_listed_methods_are_allowed() -> None:
    model = a_model(**PINNED, quantizations=["awq"])
    for method in ("auto", "awq"):
        service = CHAT.with_spec(quantization={"method": method})
        assert verdict(a_scene(service).with_models(model).plan())[0] == "True"


def test_the_platforms_list_of_sources_limits_tenants_and_not_the_platforms_own_models() -> None:
    nothing = Platform(allowed=Allowed(sources=()))
    of_platform = a_cluster_model(**PINNED, namespaces={"names": ["team-a"]})
    assert verdict(a_scene(OF_PLATFORM).with_models(of_platform).on(nothing).plan())[0] == "True"
    assert verdict(a_scene(CHAT).with_models(a_model(**PINNED)).on(nothing).plan())[1] == "SourceNotAllowed"


def running(replicas: int = 2) -> Scene:
    scene = a_scene(CHAT.with_replicas(replicas)).with_models(a_model(**PINNED)).settled()
    return scene.with_pods(*(a_pod(f"chat-{number}").ready() for number in range(replicas))).settled()


def test_a_change_of_the_model_rolls_out() -> None:
    scene = running()
    assert condition(scene.plan(), "RolledOut")["status"] == "True"
    later = scene.with_models(a_model(**{**PINNED, "revision": COMMIT[::-1]}))
    assert environment(later.plan())["MODEL_REVISION"] == COMMIT[::-1]
    before, after = (
        next(each for each in made.objects if each["kind"] == "StatefulSet") for made in (scene.plan(), later.plan())
    )
    assert before["spec"]["template"] != after["spec"]["template"]
    assert condition(later.plan(), "RolledOut")["status"] == "False"


def test_without_its_model_a_service_goes_on_and_its_number_of_replicas_is_followed() -> None:
    scene = running(2).with_models()
    wanted = dataclasses.replace(scene, service={**scene.service, "spec": {**scene.service["spec"], "replicas": 3}})
    made = wanted.plan()
    uid = scene.child("StatefulSet", "chat")["metadata"]["uid"]
    assert list(made.resizes) == [Resize("team-a", "chat", uid, 3)]
    assert list(made.objects) == list(made.deletions) == []
    status, reason, message = verdict(made)
    assert (status, reason) == ("False", "ModelNotFound")
    assert "Running pods are not changed" in message and "kubectl get llmmodels" in message
    assert condition(made, "Serving")["status"] == "True"


@pytest.mark.parametrize(
    "ref", [None, 3, [], {}, {"name": 3}, {"kind": "Secret", "name": "a"}, {"kind": [], "name": "a"}]
)
def test_what_is_no_ref_names_no_model(ref: Any) -> None:
    service = a_service().build()
    assert ref_of({**service, "spec": {"model": {"ref": ref}}}) is None
    assert ref_of({**service, "spec": None}) is None
