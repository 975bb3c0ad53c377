"""Devices by dynamic resource allocation: the template of the claims, and the pods that name it."""

from typing import Any

import pytest

from builders.services import ServiceBuilder, a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model.capacity import Need
from llmservice_operator.resources.children import Children, make_children
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Platform

CLASS = "gpu.example.com"


def children(service: ServiceBuilder) -> Children:
    spec = LLMServiceSpec.model_validate(service.build()["spec"])
    return make_children(Owner("chat", "team-a", "uid-chat"), spec, Platform(), 1)


def claiming(*selectors: str, tensor: int = 2, nodes: int | None = None) -> ServiceBuilder:
    more = {"deviceSelectors": list(selectors)} if selectors else {}
    return a_service().spread_over(tensor=tensor, nodes=nodes).with_spec(accelerator={"deviceClassName": CLASS, **more})


def request_of(made: Children) -> Any:
    assert made.device_claim_template is not None
    (request,) = made.device_claim_template["spec"]["spec"]["devices"]["requests"]
    return request["exactly"]


def test_each_pod_claims_the_devices_that_it_would_request_of_a_device_plugin() -> None:
    made = children(claiming(tensor=4, nodes=2))
    assert request_of(made) == {"deviceClassName": CLASS, "allocationMode": "ExactCount", "count": 2}
    template = made.device_claim_template
    assert template is not None
    for statefulset in made.statefulsets:
        pod = statefulset["spec"]["template"]
        (claim,) = pod["spec"]["resourceClaims"]
        assert claim["resourceClaimTemplateName"] == template["metadata"]["name"]
        resources = pod["spec"]["containers"][0]["resources"]
        assert resources["claims"] == [{"name": claim["name"]}]
        assert not [name for name in resources["limits"] if "/" in name]
        need = Need.of(pod)
        assert (need.resource, need.count) == (f"deviceclass.resource.kubernetes.io/{CLASS}", 2)


def test_a_template_is_immutable_so_other_devices_have_another_name() -> None:
    def name(service: ServiceBuilder) -> str:
        template = children(service).device_claim_template
        assert template is not None
        return str(template["metadata"]["name"])

    assert len({name(each) for each in (claiming(), claiming(tensor=4), claiming("true"), claiming("false"))}) == 4
    assert name(claiming()) == name(claiming().with_spec(engine={"maxNumSeqs": 4}))


def test_selectors_are_those_of_the_spec_and_nothing_else_is_requested() -> None:
    request = request_of(children(claiming("device.driver == 'a'", "true")))
    assert [each["cel"]["expression"] for each in request["selectors"]] == ["device.driver == 'a'", "true"]
    assert "adminAccess" not in request
    template = children(claiming()).device_claim_template
    assert template is not None and set(template["spec"]["spec"]["devices"]) == {"requests"}


@pytest.mark.parametrize("accelerator", [{}, {"type": "cpu"}, {"resourceName": "example.com/gpu"}])
def test_other_services_claim_nothing(accelerator: dict[str, str]) -> None:
    made = children(a_service().with_spec(accelerator=accelerator))
    pod = made.leader["spec"]["template"]
    assert made.device_claim_template is None
    assert "resourceClaims" not in pod["spec"] and "claims" not in pod["spec"]["containers"][0]["resources"]
    assert not [name for name in pod["metadata"]["annotations"] if "device" in name]
