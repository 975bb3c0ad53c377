"""The route and the pool by which a gateway of the Gateway API serves a service."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.cases import CASES
from builders.services import ServiceBuilder, a_service
from llmservice_contract.container import HTTP_PORT
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import gateway_api, names
from llmservice_operator.resources.children import Children, make_children
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import EndpointPicker, GatewayAPI, ParentRef, Platform
from unit.resources.test_golden import as_yaml, rendered

PARENTS = (ParentRef("inference", "gateway-system", "https"), ParentRef("own", port=8080))
PATHS = GatewayAPI(PARENTS, hostnames=("llm.example.com", "llm.internal"))
HOSTS = GatewayAPI(PARENTS[:1], domain="llm.example.com", request_timeout="")
PICKED = GatewayAPI(PARENTS[:1], domain="llm.example.com", endpoint_picker=EndpointPicker("{service}-epp", 9002))
KINDS = ("HTTPRoute", "InferencePool")
LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)


def children(platform: Platform, service: ServiceBuilder | None = None) -> Children:
    spec = LLMServiceSpec.model_validate((service or a_service()).build()["spec"])
    return make_children(Owner("chat", "team-a", "uid-chat"), spec, platform, 1)


def spec_of(child: Any) -> Any:
    assert child is not None
    return child["spec"]


def test_route_and_pool_are_as_kept(golden: Callable[[str, str], None]) -> None:
    made = rendered(CASES["five-lines"], Platform(gateway_api=PICKED))
    golden("gateway-api.yaml", as_yaml([each for each in made if each["kind"] in KINDS]))


def test_a_path_is_taken_away_before_the_service_gets_the_request() -> None:
    route = spec_of(children(Platform(gateway_api=PATHS)).http_route)
    (rule,) = route["rules"]
    assert route["hostnames"] == ["llm.example.com", "llm.internal"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/namespaces/team-a/services/chat"}}]
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    assert rule["filters"] == [{"type": "URLRewrite", "urlRewrite": rewrite}]
    assert [each["name"] for each in route["parentRefs"]] == ["inference", "own"]


@pytest.mark.parametrize("case", CASES)
def test_all_other_children_are_those_without_a_gateway(case: str) -> None:
    without = rendered(CASES[case], Platform())
    made = rendered(CASES[case], Platform(gateway_api=PICKED))
    assert [each for each in made if each["kind"] not in KINDS] == without
    assert len(made) == len(without) + 2


def test_without_its_kinds_nothing_of_it_is_made() -> None:
    for platform in (Platform(), Platform(gateway_api=PICKED, http_routes=False)):
        made = children(platform)
        assert made.http_route is made.inference_pool is None


def test_without_inference_pools_requests_go_to_the_service() -> None:
    for platform in (Platform(gateway_api=PICKED, inference_pools=False), Platform(gateway_api=HOSTS)):
        made = children(platform)
        assert made.inference_pool is None
        (backend,) = spec_of(made.http_route)["rules"][0]["backendRefs"]
        assert (backend["kind"], backend["name"], backend["port"]) == ("Service", "chat", names.CLIENT_PORT)


def test_the_pool_has_the_pods_of_the_service() -> None:
    made = children(Platform(gateway_api=PICKED), a_service().spread_over(tensor=2, nodes=2))
    pool, service = spec_of(made.inference_pool), spec_of(made.client_service)
    assert pool["selector"]["matchLabels"] == service["selector"], "leaders alone answer requests"
    labels = made.leader["spec"]["template"]["metadata"]["labels"]
    assert pool["selector"]["matchLabels"].items() <= labels.items()
    assert pool["targetPorts"] == [{"number": HTTP_PORT}]
    assert pool["endpointPickerRef"]["name"] == "chat-epp"
    (backend,) = spec_of(made.http_route)["rules"][0]["backendRefs"]
    assert backend == {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "chat", "weight": 1}


def test_a_time_limit_is_stated_or_left_to_the_gateway() -> None:
    assert spec_of(children(Platform(gateway_api=PATHS)).http_route)["rules"][0]["timeouts"] == {"request": "0s"}
    assert "timeouts" not in spec_of(children(Platform(gateway_api=HOSTS)).http_route)["rules"][0]


@given(LABELS, LABELS, LABELS, LABELS)
def test_no_other_service_has_the_same_address(name: str, namespace: str, other: str, elsewhere: str) -> None:
    one, two = Owner(name, namespace, "a"), Owner(other, elsewhere, "b")
    for settings in (PATHS, HOSTS):
        first, second = (gateway_api.addresses(each, settings) for each in (one, two))
        same = (name, namespace) == (other, elsewhere)
        assert any(f"{mine}/".startswith(f"{theirs}/") for mine in first for theirs in second) == same


@pytest.mark.parametrize("settings", [PATHS, HOSTS, PICKED], ids=["paths", "hosts", "picker"])
def test_objects_show_the_settings_that_they_were_made_from(settings: GatewayAPI) -> None:
    made = children(Platform(gateway_api=settings))
    assert made.http_route is not None
    live = json.loads(json.dumps([made.http_route, made.inference_pool]))
    shown = gateway_api.settings_of(*live)
    assert shown == settings
    assert children(Platform(gateway_api=shown)) == made


@pytest.mark.parametrize("spec", [{}, {"rules": []}, {"rules": [{}], "hostnames": [], "parentRefs": []}, None])
def test_a_route_of_another_form_shows_none(spec: Any) -> None:
    meta = {"namespace": "team-a", "labels": names.labels("chat", names.ENGINE_COMPONENT)}
    assert gateway_api.settings_of({"metadata": meta, "spec": spec}, None) is None
    assert gateway_api.settings_of({"metadata": {}, "spec": spec}, None) is None
