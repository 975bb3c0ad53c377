"""What the chart renders for clusters that differ: OpenShift, control planes that reach no pods, and dual stack."""

from typing import Any

import pytest

from llmservice_operator.config.settings import from_environment
from llmservice_operator.resources.platform import Platform, Proxy
from support.helm import HelmError, of_kind, only, render

OPENSHIFT = ("security.openshift.io/v1",)
IDS = {"runAsUser", "runAsGroup", "fsGroup"}


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The operator's pod."""
    spec: dict[str, Any] = only(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The operator's variables, without those that the cluster fills in."""
    (container,) = pod(objects)["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def platform(objects: list[dict[str, Any]]) -> Platform:
    return from_environment(environment(objects)).platform


@pytest.mark.parametrize(
    ("fixed_user", "openshift", "fixed"),
    [
        *[("Auto", False, True), ("Auto", True, False), ("Always", True, True)],
        *[("Always", False, True), ("Never", False, False), ("Never", True, False)],
    ],
)
def test_the_user_is_the_images_or_the_clusters(fixed_user: str, openshift: bool, fixed: bool) -> None:
    objects = render({"fixedUser": fixed_user}, api_versions=OPENSHIFT if openshift else ())
    security = pod(objects)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert bool(IDS & security.keys()) is fixed
    assert platform(objects).fixed_user is fixed


def test_the_host_network_is_for_those_who_ask() -> None:
    objects = render()
    assert not {"hostNetwork", "dnsPolicy"} & pod(objects).keys()
    assert "strategy" not in only(objects, "Deployment")["spec"]


def test_a_pod_in_its_nodes_network_resolves_services_and_leaves_its_ports_to_the_next() -> None:
    objects = render({"hostNetwork": True})
    assert (pod(objects)["hostNetwork"], pod(objects)["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert only(objects, "Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_ports_are_the_same_everywhere() -> None:
    ports = {"health": 18080, "metrics": 19090, "metricsAPI": 18443}
    objects = render({"hostNetwork": True, "ports": ports, "metrics": {"podMonitor": {"enabled": True}}})
    assert not {8080, 9090, 8443} & set(numbers(only(objects, "Deployment")) + numbers(only(objects, "NetworkPolicy")))
    (container,) = pod(objects)["containers"]
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == {
        "health": 18080,
        "metrics": 19090,
        "metrics-api": 18443,
    }
    settings = from_environment(environment(objects))
    assert (settings.health_port, settings.metrics_port, settings.scaling.api_port) == (18080, 19090, 18443)
    annotations = only(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "19090"
    policy = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in policy] == [19090, 18443]
    targets = {each["spec"]["ports"][0]["targetPort"] for each in of_kind(objects, "Service")}
    assert targets == {18443, "metrics"}


def numbers(value: Any) -> list[int]:
    """All integers, and strings of digits, at any depth."""
    if isinstance(value, dict):
        return [found for each in value.values() for found in numbers(each)]
    if isinstance(value, list):
        return [found for each in value for found in numbers(each)]
    return [int(value)] if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ports": {"health": 9090}}, "ports.health, ports.metrics and ports.metricsAPI must be different ports"),
        ({"ports": {"health": 0}}, "ports"),
        ({"ports": {"http": 80}}, "http"),
        ({"fixedUser": True}, "fixedUser"),
        ({"runtime": {"ipFamilyPolicy": "IPv6"}}, "ipFamilyPolicy"),
        ({"podLabels": {"app.kubernetes.io/name": "x"}}, "podLabels has the label app.kubernetes.io/name"),
        ({"commonLabels": {"app.kubernetes.io/instance": "x"}}, "commonLabels has the label"),
        ({"gateway": {"podLabels": {"app.kubernetes.io/component": "x"}}}, "gateway.podLabels has the label"),
        ({"batches": {"podLabels": {"app.kubernetes.io/component": "engine"}}}, "batches.podLabels has the label"),
    ],
)
def test_what_can_not_be_is_refused_by_name(values: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmError) as error:
        render(values)
    assert words in str(error.value)


def test_the_family_policy_of_services_reaches_the_operator() -> None:
    assert platform(render()).ip_family_policy == ""
    assert platform(render({"runtime": {"ipFamilyPolicy": "PreferDualStack"}})).ip_family_policy == "PreferDualStack"


PROXY = {
    "http": "http://proxy.corp.example:3128",
    "https": "http://proxy.corp.example:3128",
    "noProxy": [".corp.example"],
}


def test_proxy_and_cas_reach_the_operator() -> None:
    assert (platform(render()).proxy, platform(render()).ca_bundle) == (None, None)
    for source in ("configMap", "secret"):
        objects = render({"runtime": {"proxy": PROXY, "caBundle": {source: "corp-ca", "key": "bundle.pem"}}})
        found = platform(objects)
        assert found.proxy == Proxy(PROXY["http"], PROXY["https"], (".corp.example",))
        assert found.ca_bundle is not None
        (volume,) = pod(objects)["volumes"]
        named = volume["configMap"]["name"] if source == "configMap" else volume["secret"]["secretName"]
        assert named == "corp-ca"
        (mount,) = pod(objects)["containers"][0]["volumeMounts"]
        assert environment(objects)["LLMSERVICE_CA_BUNDLE"] == f"{mount['mountPath']}/ca.crt"


@pytest.mark.parametrize(
    "runtime",
    [
        {"proxy": {"https": "http://user:password@proxy:3128"}},
        {"proxy": {"https": "proxy:3128"}},
        {"proxy": {"https": "socks5://proxy:1080"}},
        {"proxy": {"noProxy": ["a b"]}},
        {"proxy": {"noProxy": ["a,b"]}},
        {"caBundle": {"configMap": "one", "secret": "other"}},
    ],
)
def test_a_proxy_that_can_not_be_used_is_refused(runtime: dict[str, Any]) -> None:
    with pytest.raises(HelmError):
        render({"runtime": runtime})


def test_the_collector_of_all_services_reaches_the_operator() -> None:
    assert platform(render()).tracing_endpoint == ""
    found = platform(render({"tracing": {"endpoint": "http://otel.tracing:4317", "samplingPercent": 25}}))
    assert (found.tracing_endpoint, found.tracing_sampling_percent) == ("http://otel.tracing:4317", 25)
    for endpoint in ("https://otel:4317", "otel:4317", "http://otel:4317/a b"):
        with pytest.raises(HelmError, match="endpoint"):
            render({"tracing": {"endpoint": endpoint}})
