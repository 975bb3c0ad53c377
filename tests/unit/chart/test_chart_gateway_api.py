"""Gateways of the Gateway API in the chart: what the operator reads, may write, and what routes of others may take."""

import copy
import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

from builders.cases import CASES
from llmservice_operator.config.settings import from_environment
from llmservice_operator.resources.platform import EndpointPicker, GatewayAPI, ParentRef, Platform
from support.admission import denials, policy
from support.helm import HelmError, of_kind, render
from unit.resources.test_golden import rendered

Json = dict[str, Any]
OPERATOR = "system:serviceaccount:llmservice-system:llmservice-operator"
GATEWAY = {"name": "inference", "namespace": "gateway-system", "sectionName": "https"}
PATHS: Json = {
    "type": "GatewayAPI",
    "parentRefs": [GATEWAY, {"name": "own", "port": 8080}],
    "hostnames": ["llm.example.com", "llm.internal"],
}
HOSTS: Json = {
    "type": "GatewayAPI",
    "parentRefs": [GATEWAY],
    "domain": "llm.example.com",
    "requestTimeout": "30m",
    "endpointPicker": {"name": "{service}-epp", "port": 9003, "failureMode": "FailOpen"},
}


@functools.cache
def _objects(gateway: str) -> list[Json]:
    return render({"gateway": json.loads(gateway)})


def objects(gateway: Json) -> list[Json]:
    """The chart's objects. Helm takes a second, and many cases have the same values."""
    return _objects(json.dumps(gateway))


def settings(gateway: Json) -> GatewayAPI | None:
    """What the operator reads."""
    (deployment,) = (
        each for each in of_kind(objects(gateway), "Deployment") if "gateway" not in each["metadata"]["name"]
    )
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return from_environment({each["name"]: each["value"] for each in env if "value" in each}).platform.gateway_api


def child(gateway: Json, kind: str) -> Json:
    """What the operator makes with these values."""
    platform = Platform(gateway_api=settings(gateway))
    return next(each for each in rendered(CASES["five-lines"], platform) if each["kind"] == kind)


def denied(gateway: Json, suffix: str, obj: Json, before: Json | None = None, **more: Any) -> list[str]:
    return denials(policy(objects(gateway), suffix), obj, before, **more)


def test_the_operator_reads_the_values() -> None:
    assert settings({}) is None and settings({"type": "NGINX"}) is None
    parent = ParentRef("inference", "gateway-system", "https")
    assert settings(PATHS) == GatewayAPI((parent, ParentRef("own", port=8080)), ("llm.example.com", "llm.internal"))
    picker = EndpointPicker("{service}-epp", 9003, "FailOpen")
    assert settings(HOSTS) == GatewayAPI((parent,), (), "llm.example.com", "30m", picker)


def test_no_other_value_adds_anything_for_gateways() -> None:
    for gateway in ({}, {"type": "NGINX"}, {"parentRefs": [GATEWAY], "domain": "llm.example.com"}):
        text = str([each for each in objects(gateway) if each["kind"] in ("ClusterRole", "Deployment")])
        assert "gateway.networking.k8s.io" not in text and "LLMSERVICE_GATEWAY_API" not in text
        names = [each["metadata"]["name"] for each in objects(gateway)]
        assert not [each for each in names if each.endswith(("-own-routes", "-own-pools", "-hosts"))]
    assert not [each for each in objects(PATHS) if each["metadata"]["name"] == "llmservice-operator-gateway"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parentRefs": []}, "gateway.parentRefs names no Gateway"),
        ({"domain": ""}, "set either gateway.hostnames"),
        ({"hostnames": ["a.example"]}, "set either gateway.hostnames"),
        ({"domain": "*.example.com"}, "domain"),
        ({"parentRefs": [{"namespace": "a"}]}, "name"),
        ({"parentRefs": [GATEWAY, GATEWAY]}, "are equal"),
        ({"requestTimeout": "1 hour"}, "requestTimeout"),
        ({"endpointPicker": {"name": "{service}-{service}"}}, "endpointPicker"),
        ({"endpointPicker": {"name": 'a" || true'}}, "endpointPicker"),
        ({"endpointPicker": {"failureMode": "Open"}}, "failureMode"),
    ],
)
def test_values_that_do_not_fit_are_refused(change: Json, said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render({"gateway": {**HOSTS, **change}})


def _rule(**fields: Any) -> Callable[[Json], Any]:
    return lambda spec: spec["rules"][0].update(fields)


def _backend(**fields: Any) -> Callable[[Json], Any]:
    return lambda spec: spec["rules"][0]["backendRefs"][0].update(fields)


def _path(value: str, kind: str = "PathPrefix") -> list[Json]:
    return [{"path": {"type": kind, "value": value}}]


ROUTES: dict[str, Callable[[Json], Any]] = {
    "another Gateway": lambda spec: spec["parentRefs"][0].update(name="web"),
    "a Gateway of another namespace": lambda spec: spec["parentRefs"][0].update(namespace="team-b"),
    "another listener": lambda spec: spec["parentRefs"][0].update(sectionName="http"),
    "another port": lambda spec: spec["parentRefs"][0].update(port=80),
    "a Service as parent": lambda spec: spec["parentRefs"][0].update(group="", kind="Service"),
    "one more Gateway": lambda spec: spec["parentRefs"].append({"name": "web"}),
    "no Gateway": lambda spec: spec.pop("parentRefs"),
    "no host": lambda spec: spec.pop("hostnames"),
    "no hosts": lambda spec: spec.update(hostnames=[]),
    "another host": lambda spec: spec.update(hostnames=["www.example.com"]),
    "one more host": lambda spec: spec["hostnames"].append("www.example.com"),
    "a wildcard": lambda spec: spec.update(hostnames=["*.example.com"]),
    "another Service": _backend(kind="Service", group="", name="payments", port=80),
    "a Service elsewhere": _backend(namespace="kube-system"),
    "another kind of backend": _backend(kind="TraefikService", group="traefik.io"),
    "a pool of another group": _backend(kind="InferencePool", group="inference.networking.x-k8s.io"),
    "no backend": _rule(backendRefs=None),
    "headers": _rule(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": []}}]),
    "a mirror": _rule(filters=[{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "spy"}}}]),
    "a redirect": _rule(filters=[{"type": "RequestRedirect", "requestRedirect": {"hostname": "attacker.example"}}]),
    "an extension": _rule(filters=[{"type": "ExtensionRef", "extensionRef": {"kind": "Middleware", "name": "a"}}]),
    "another host for the backend": _rule(filters=[{"type": "URLRewrite", "urlRewrite": {"hostname": "a"}}]),
    "a filter of the backend": _backend(filters=[{"type": "RequestMirror"}]),
    "one more rule": lambda spec: spec["rules"].append({"matches": _path("/"), "backendRefs": [{"name": "spy"}]}),
}
OF_HOSTS = {
    "the host of another service": lambda spec: spec.update(hostnames=["other.team-a.llm.example.com"]),
    "the host of another namespace": lambda spec: spec.update(hostnames=["chat.team-b.llm.example.com"]),
    "the domain": lambda spec: spec.update(hostnames=["llm.example.com"]),
}
OF_PATHS = {
    "every path": _rule(matches=_path("/")),
    "a path by default": _rule(matches=[{"method": "POST"}]),
    "no match": _rule(matches=[]),
    "the path of another namespace": _rule(matches=_path("/namespaces/team-b/services/chat")),
    "the path of another service": _rule(matches=_path("/namespaces/team-a/services/other")),
    "a longer path": _rule(matches=_path("/namespaces/team-a/services/chat/v1")),
    "a pattern": _rule(matches=_path("/namespaces/team-a/services/chat", "RegularExpression")),
}


@pytest.mark.parametrize("gateway", [PATHS, HOSTS], ids=["paths", "hosts"])
def test_routes_of_the_operator_are_for_their_own_service(gateway: Json) -> None:
    ours = child(gateway, "HTTPRoute")
    assert denied(gateway, "-own-routes", ours, user=OPERATOR) == []
    assert denied(gateway, "-own-routes", ours, ours, user=OPERATOR) == []
    for name, change in {**ROUTES, **(OF_PATHS if gateway is PATHS else OF_HOSTS)}.items():
        bad = copy.deepcopy(ours)
        change(bad["spec"])
        bad["spec"]["rules"] = [{key: value for key, value in each.items() if value} for each in bad["spec"]["rules"]]
        assert denied(gateway, "-own-routes", bad, user=OPERATOR), name
        assert denied(gateway, "-own-routes", bad, ours, user=OPERATOR), name


POOLS: dict[str, Callable[[Json], Any]] = {
    "all pods": lambda spec: spec.update(selector={"matchLabels": {"app.kubernetes.io/name": "llmservice"}}),
    "other pods": lambda spec: spec["selector"]["matchLabels"].update({"app.kubernetes.io/name": "payments"}),
    "pods of another service": lambda spec: spec["selector"]["matchLabels"].update(
        {"app.kubernetes.io/instance": "other"}
    ),
    "another picker": lambda spec: spec["endpointPickerRef"].update(name="other-epp"),
    "another port": lambda spec: spec["endpointPickerRef"].update(port={"number": 80}),
    "another kind": lambda spec: spec["endpointPickerRef"].update(kind="ConfigMap"),
    "no picker": lambda spec: spec.pop("endpointPickerRef"),
}


def test_pools_of_the_operator_have_the_pods_of_their_service_and_the_platforms_picker() -> None:
    ours = child(HOSTS, "InferencePool")
    assert denied(HOSTS, "-own-pools", ours, user=OPERATOR) == []
    for name, change in POOLS.items():
        bad = copy.deepcopy(ours)
        change(bad["spec"])
        assert denied(HOSTS, "-own-pools", bad, user=OPERATOR), name
    assert denied(PATHS, "-own-pools", ours, user=OPERATOR), "without a picker there are none"
    fixed = {**HOSTS, "endpointPicker": {"name": "epp"}}
    assert denied(fixed, "-own-pools", child(fixed, "InferencePool"), user=OPERATOR) == []


def route(parent: Json, *hosts: str, kind: str = "HTTPRoute") -> Json:
    """A route of a tenant in team-a."""
    meta = {"name": "mine", "namespace": "team-a"}
    return {"kind": kind, "metadata": meta, "spec": {"parentRefs": [parent], **({"hostnames": hosts} if hosts else {})}}


AT = {"name": "inference", "namespace": "gateway-system"}
TAKES = {
    "paths": ("llm.example.com", "llm.internal", "*.example.com", "*.com", "*.internal"),
    "hosts": (
        "chat.team-b.llm.example.com",
        "chat.team-a.llm.example.com",
        "llm.example.com",
        "*.llm.example.com",
        "*.team-b.llm.example.com",
        "*.example.com",
        "*.com",
    ),
}


@pytest.mark.parametrize("mode", TAKES)
def test_routes_of_others_take_no_host_of_services_at_their_gateways(mode: str) -> None:
    gateway = PATHS if mode == "paths" else HOSTS
    for kind in ("HTTPRoute", "GRPCRoute"):
        for host in TAKES[mode]:
            assert denied(gateway, "-hosts", route(AT, host, kind=kind)), host
            assert denied(gateway, "-hosts", route(AT, "www.example.com", host, kind=kind)), host
            assert denied(gateway, "-hosts", route({**AT, "sectionName": "http"}, host, kind=kind)), host
        assert denied(gateway, "-hosts", route(AT, kind=kind)), "it would have the hosts of the listener"
    mine = route(AT, "www.example.com", "llm.example.com.attacker.example", "xllm.example.com")
    assert denied(gateway, "-hosts", mine) == []
    assert denied(gateway, "-hosts", route({"name": "inference"}, TAKES[mode][0])) == [], "a Gateway of their own"
    assert denied(gateway, "-hosts", route({"name": "web", "namespace": "gateway-system"})) == []


def test_gateways_in_each_namespace_are_meant_too() -> None:
    for parent in ({"name": "own"}, {"name": "own", "namespace": "team-a"}):
        assert denied(PATHS, "-hosts", route(parent, "llm.example.com"))
    assert denied(PATHS, "-hosts", route({"name": "own", "namespace": "team-c"}, "llm.example.com")) == []


def test_what_is_there_stays_and_the_operator_makes_its_routes() -> None:
    there = route(AT, "llm.example.com")
    labelled = {**there, "metadata": {**there["metadata"], "labels": {"a": "b"}}}
    assert denied(HOSTS, "-hosts", labelled, there) == []
    assert denied(HOSTS, "-hosts", route(AT, "chat.team-b.llm.example.com"), there)

    def may(*asked: str) -> bool:
        return asked == ("llmservices/status", "patch")

    assert denied(HOSTS, "-hosts", child(HOSTS, "HTTPRoute"), may=may) == []


def test_hosts_can_be_left_to_others() -> None:
    names = [each["metadata"]["name"] for each in objects({**HOSTS, "reserveHostnames": False})]
    assert not [each for each in names if each.endswith("-hosts")]
