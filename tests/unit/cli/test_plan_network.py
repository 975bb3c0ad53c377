"""`kubectl llm plan` takes the network of the platform from the operator, or from the service's own NetworkPolicy."""

from __future__ import annotations

import dataclasses

import pytest

from builders.observed import a_scene
from builders.services import a_service
from llmservice_operator.cli.plan.platform_discovery import DiscoveredPlatform, with_network
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources.networkpolicy import network_of
from llmservice_operator.resources.platform import Allowed, Network, Platform

ALLOWED = Allowed(service_accounts=("team-a/reader",))
WEB = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}
BLOCK = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}}
API_SERVER = ("10.96.0.1/32", "172.18.0.2/32", "fd00::1/128")
NETWORKS = {
    "nothing stated": Network(),
    "addresses": Network(api_server=API_SERVER),
    "everything": Network((WEB,), (BLOCK,), (WEB, BLOCK), (WEB,), ("10.96.0.0/12", "fd00:10::/64"), API_SERVER),
    "no pods": Network(pods=(), api_server=API_SERVER),
    "IPv6 alone": Network(excepted=("0.0.0.0/0",), api_server=("fd00::1/128",)),
    "closed": Network(pods=(), excepted=("0.0.0.0/0", "::/0")),
}


def policies(network: Network | None) -> list[Object]:
    plan = a_scene(a_service("chat")).on(Platform(network=network)).plan()
    return [each for each in plan.objects if each["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("case", NETWORKS)
def test_a_policy_shows_what_it_was_made_from(case: str) -> None:
    (live,) = policies(NETWORKS[case])
    assert policies(network_of(live)) == [live]
    shown = with_network(DiscoveredPlatform(Platform(), from_operator=False), "chat", [live]).platform.network
    assert policies(shown) == [live], "a plan without a change has none"


def test_what_a_spec_opens_is_none_of_the_platforms() -> None:
    service = a_service("chat").with_spec(serviceAccountName="reader")
    for network in NETWORKS.values():
        (live,) = (
            each
            for each in a_scene(service).on(Platform(network=network, allowed=ALLOWED)).plan().objects
            if each["kind"] == "NetworkPolicy"
        )
        assert policies(network_of(live)) == policies(network)


def test_an_operator_that_tells_is_believed_and_finds_the_api_server_itself() -> None:
    (live,) = policies(NETWORKS["everything"])
    stated = dataclasses.replace(NETWORKS["everything"], prometheus=(), api_server=())
    shown = with_network(
        DiscoveredPlatform(Platform(network=stated), from_operator=True), "chat", [live]
    ).platform.network
    assert shown == dataclasses.replace(stated, api_server=API_SERVER)
    off = DiscoveredPlatform(Platform(), from_operator=True)
    assert with_network(off, "chat", [live]) == off
    assert (
        with_network(DiscoveredPlatform(Platform(network=stated), from_operator=True), "other", [live]).platform.network
        == stated
    )


@pytest.mark.parametrize("spec", [{}, {"ingress": [], "egress": []}, {"ingress": [{}, {}], "egress": "x"}])
def test_a_policy_of_somebody_else_shows_nothing(spec: dict[str, object]) -> None:
    assert network_of({"spec": spec}) is None
