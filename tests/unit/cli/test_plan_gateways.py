"""`kubectl llm plan` takes the Gateways of the platform from the operator, or from the service's own route."""

from __future__ import annotations

import pytest

from builders.observed import a_scene
from builders.services import a_service
from llmservice_operator.cli.plan.platform_discovery import DiscoveredPlatform, with_gateways
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources.platform import EndpointPicker, GatewayAPI, ParentRef, Platform

PARENTS = (ParentRef("inference", "gateway-system"),)
SETTINGS = {
    "paths": GatewayAPI(PARENTS, hostnames=("llm.example.com",)),
    "hosts": GatewayAPI(PARENTS, domain="llm.example.com"),
    "a picker": GatewayAPI(PARENTS, domain="llm.example.com", endpoint_picker=EndpointPicker("{service}-epp")),
}
KINDS = ("HTTPRoute", "InferencePool")


def objects(platform: Platform) -> list[Object]:
    plan = a_scene(a_service("chat")).on(platform).plan()
    return [each for each in plan.objects if each["kind"] in KINDS]


@pytest.mark.parametrize("case", SETTINGS)
def test_a_plan_without_a_change_has_none(case: str) -> None:
    live = objects(Platform(gateway_api=SETTINGS[case]))
    shown = with_gateways(DiscoveredPlatform(Platform(), from_operator=False), "chat", live, ()).platform
    assert objects(shown) == live


def test_the_settings_of_the_operator_are_used() -> None:
    live = objects(Platform(gateway_api=SETTINGS["paths"]))
    for stated in (None, SETTINGS["hosts"]):
        shown = DiscoveredPlatform(Platform(gateway_api=stated), from_operator=True)
        assert with_gateways(shown, "chat", live, ()).platform.gateway_api == stated


def test_kinds_that_can_not_be_read_are_not_planned() -> None:
    shown = DiscoveredPlatform(Platform(gateway_api=SETTINGS["a picker"]), from_operator=True)
    assert [each["kind"] for each in objects(with_gateways(shown, "chat", (), ()).platform)] == [*reversed(KINDS)]
    without_pools = with_gateways(shown, "chat", (), {"InferencePool"}).platform
    assert [each["kind"] for each in objects(without_pools)] == ["HTTPRoute"]
    assert objects(with_gateways(shown, "chat", (), {"HTTPRoute", "ScaledObject"}).platform) == []


def test_a_route_of_somebody_else_shows_nothing() -> None:
    route = {"kind": "HTTPRoute", "metadata": {"name": "chat.service", "namespace": "team-a"}, "spec": {}}
    found = with_gateways(DiscoveredPlatform(Platform(), from_operator=False), "chat", [route], ())
    assert found.platform.gateway_api is None
