"""Children by their roles, and the order in which they are applied: nothing is there before what it relies on."""

import dataclasses
from typing import Any

import pytest

from builders.cases import CASES
from builders.observed import a_scene
from builders.services import a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources.children import Children, make_children
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Adapter, EndpointPicker, GatewayAPI, Network, ParentRef, Platform

GATEWAYS = GatewayAPI((ParentRef("a"),), domain="a.example", endpoint_picker=EndpointPicker("{service}-epp"))
PLATFORM = Platform(
    adapter=Adapter.OWN, network=Network(), ca_bundle="-----BEGIN CERTIFICATE-----", gateway_api=GATEWAYS
)


def children(case: str, platform: Platform = PLATFORM) -> Children:
    spec = LLMServiceSpec.model_validate(CASES[case].build()["spec"])
    return make_children(Owner("chat", "team-a", "uid-chat"), spec, platform, 2)


@pytest.mark.parametrize("case", CASES)
def test_each_child_has_its_role(case: str) -> None:
    made = children(case)
    kinds = {
        "network_policies": "NetworkPolicy",
        "platform_ca": "ConfigMap",
        "access": "ConfigMap",
        "adapters": "ConfigMap",
        "environment": "ConfigMap",
        "device_claim_template": "ResourceClaimTemplate",
        "headless_service": "Service",
        "client_service": "Service",
        "inference_pool": "InferencePool",
        "http_route": "HTTPRoute",
        "disruption_budget": "PodDisruptionBudget",
        "autoscaler": "HorizontalPodAutoscaler",
        "workers": "StatefulSet",
        "leader": "StatefulSet",
        "inspections": "Job",
    }
    assert set(kinds) == {field.name for field in dataclasses.fields(Children)}
    for field, kind in kinds.items():
        value: Any = getattr(made, field)
        for child in value if isinstance(value, tuple) else [value] if value else []:
            assert child["kind"] == kind
    assert made.environment["immutable"] and "immutable" not in made.access
    assert made.headless_service["spec"]["clusterIP"] == "None"
    assert made.leader["metadata"]["name"] == made.client_service["metadata"]["name"] == "chat"
    assert (made.autoscaler is not None) == (CASES[case].build()["spec"].get("scaling") is not None)


def test_all_are_listed_once_and_the_leader_is_the_last() -> None:
    made = children("two-nodes")
    listed = [(each["kind"], each["metadata"]["name"]) for each in made]
    assert len(set(listed)) == len(listed)
    assert [name for kind, name in listed if kind == "StatefulSet"] == ["chat-r1", "chat"]
    assert [each["metadata"]["name"] for each in made.statefulsets] == ["chat-r1", "chat"]
    assert listed[-1] == ("StatefulSet", "chat")


@pytest.mark.parametrize("case", CASES)
def test_policies_come_before_any_pod_and_what_pods_refer_to_before_the_statefulsets(case: str) -> None:
    job = {"kind": "Job", "metadata": {"name": "inspect"}}
    order = [each["kind"] for each in dataclasses.replace(children(case), inspections=(job,))]
    first = {kind: order.index(kind) for kind in order}
    last = {kind: place for place, kind in enumerate(order)}
    assert last["NetworkPolicy"] < min(first["Job"], first["StatefulSet"])
    assert max(last["ConfigMap"], last["Service"]) < first["StatefulSet"]
    assert last["Service"] < first["InferencePool"] < first["HTTPRoute"]
    assert last.get("ResourceClaimTemplate", 0) < first["StatefulSet"]


def test_what_is_absent_is_not_listed() -> None:
    made = children("five-lines", Platform())
    assert made.network_policies == made.inspections == made.workers == ()
    assert made.autoscaler is None and None not in list(made)


def test_a_plan_applies_them_in_this_order() -> None:
    scene = a_scene(a_service().spread_over(tensor=2, nodes=2)).on(PLATFORM)
    order = [each["kind"] for each in scene.plan().objects]
    assert order[0] == "NetworkPolicy" and sorted(order, key=order.index) == order
