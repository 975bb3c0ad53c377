"""The gateway's objects in the chart."""

from typing import Any

import pytest

from llmservice_operator.config.gateway import GatewaySettings, read_gateway
from llmservice_operator.config.settings import from_environment
from support.helm import HelmError, of_kind, render

NGINX = {"type": "NGINX"}


def gateway_objects(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The gateway's objects by kind."""
    own = [each for each in render(values) if each["metadata"]["name"] == "llmservice-operator-gateway"]
    assert len({each["kind"] for each in own}) == len(own)
    return {each["kind"]: each for each in own}


def pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Its pod."""
    spec: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return spec


def settings(objects: dict[str, dict[str, Any]]) -> GatewaySettings:
    """What the process reads."""
    return read_gateway({each["name"]: each["value"] for each in pod(objects)["containers"][0]["env"]})


def operator_variables(values: dict[str, Any]) -> dict[str, str]:
    """The operator's variables."""
    (deployment,) = (
        each for each in of_kind(render(values), "Deployment") if each["metadata"]["name"] == "llmservice-operator"
    )
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return {each["name"]: each["value"] for each in env if "value" in each}


def test_without_a_type_there_is_none() -> None:
    assert not gateway_objects({})


def test_it_reads_services_and_pods_and_wakes_services_and_nothing_else() -> None:
    objects = gateway_objects({"gateway": NGINX})
    assert objects["ClusterRole"]["rules"] == [
        {"apiGroups": ["llmservice.dev"], "resources": ["llmservices"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["llmservice.dev"], "resources": ["llmservices/scale"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    ]
    policies = of_kind(render({"gateway": NGINX}), "ValidatingAdmissionPolicy")
    (own,) = [each for each in policies if each["metadata"]["name"] == "llmservice-operator-gateway-scaling"]
    account = f"system:serviceaccount:llmservice-system:{pod(objects)['serviceAccountName']}"
    assert account in own["spec"]["matchConditions"][0]["expression"]


def test_without_a_hold_it_reads_services_and_pods_and_nothing_else() -> None:
    values = {"gateway": {**NGINX, "hold": {"seconds": 0}}}
    objects = gateway_objects(values)
    assert settings(objects).gateway_hold == 0
    names = {each["metadata"]["name"] for each in of_kind(render(values), "ValidatingAdmissionPolicy")}
    assert "llmservice-operator-gateway-scaling" not in names
    assert objects["ClusterRole"]["rules"] == [
        {"apiGroups": ["llmservice.dev"], "resources": ["llmservices"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    ]
    assert objects["ClusterRoleBinding"]["subjects"][0]["name"] == pod(objects)["serviceAccountName"]


def test_with_namespaces_it_has_roles_there_alone() -> None:
    objects = render({"gateway": {**NGINX, "namespaces": ["team-a", "team-b"], "defaultNamespace": "team-a"}})
    own = [each for each in objects if each["metadata"]["name"] == "llmservice-operator-gateway"]
    assert not [each for each in own if each["kind"].startswith("Cluster")]
    assert [each["metadata"]["namespace"] for each in of_kind(own, "Role")] == ["team-a", "team-b"]
    found = settings({each["kind"]: each for each in own})
    assert (found.namespaces, found.gateway_namespace) == (("team-a", "team-b"), "team-a")


def test_its_settings_are_those_of_the_values() -> None:
    given: dict[str, Any] = {"hold": {"seconds": 30, "requests": 100}}
    given |= {"requestsPerClient": 7, "trustedProxies": ["10.0.0.0/8", "fd00::/8"]}
    given |= {"maxBodyMegabytes": 8, "heldBodiesMegabytes": 100, "readTimeoutSeconds": 60, "workers": 4}
    objects = gateway_objects({"gateway": {**NGINX, **given}})
    found = settings(objects)
    assert (found.gateway_max_body, found.gateway_held_bodies) == (8 * 2**20, 100 * 2**20)
    assert (found.gateway_client_requests, found.gateway_trusted_proxies) == (7, ("10.0.0.0/8", "fd00::/8"))
    assert (found.gateway_read_timeout, found.gateway_workers) == (60, 4)
    assert (found.gateway_hold, found.gateway_hold_requests) == (30, 100)
    nodes = settings(gateway_objects({"gateway": NGINX, "maxNodeProvisionSeconds": 0}))
    assert nodes.gateway_node_provision == 0
    assert settings(gateway_objects({"gateway": NGINX})) == GatewaySettings(log_format="json", log_level="INFO")


def test_a_domain_has_host_names_of_namespaces_and_services_below_it() -> None:
    assert settings(gateway_objects({"gateway": {**NGINX, "domain": "llm.example.com"}})).gateway_domain == (
        "llm.example.com"
    )
    assert "LLMSERVICE_GATEWAY_DOMAIN" not in str(gateway_objects({"gateway": NGINX}))


def test_its_pod_is_restricted_and_writes_to_tmp_alone() -> None:
    objects = gateway_objects({"gateway": NGINX})
    (container,) = pod(objects)["containers"]
    assert pod(objects)["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [each["mountPath"] for each in container["volumeMounts"]] == ["/tmp"]
    assert pod(objects)["volumes"][0]["emptyDir"] == {"sizeLimit": "1280Mi"}
    assert pod(objects)["terminationGracePeriodSeconds"] == 3600 + 5 + 15


def test_with_a_certificate_the_port_is_443() -> None:
    objects = gateway_objects({"gateway": {**NGINX, "tls": {"secret": "gateway-tls"}}})
    assert objects["Service"]["spec"]["ports"] == [
        {"name": "https", "port": 443, "targetPort": "clients", "protocol": "TCP"}
    ]
    assert str(settings(objects).gateway_tls_directory) == pod(objects)["containers"][0]["volumeMounts"][1]["mountPath"]
    assert gateway_objects({"gateway": NGINX})["Service"]["spec"]["ports"][0]["port"] == 80


def test_policies_let_it_reach_the_services() -> None:
    clients = [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]
    labels = gateway_objects({"gateway": NGINX})["Deployment"]["spec"]["template"]["metadata"]["labels"]
    network = from_environment(operator_variables({"gateway": NGINX, "networkPolicy": {"clients": clients}}))
    (peer,) = network.platform.network.gateways if network.platform.network else ()
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "llmservice-system"}


def test_services_that_all_pods_may_reach_stay_so() -> None:
    network = from_environment(operator_variables({"gateway": NGINX})).platform.network
    assert network is not None
    assert (network.clients, network.gateways) == ((), ())


def test_the_operator_reads_the_counts_of_all_pods() -> None:
    values = {"gateway": {**NGINX, "namespaces": ["team-a"]}, "networkPolicy": {"mode": "Enabled"}}
    platform = from_environment(operator_variables(values)).platform
    objects = render(values)
    (pods,) = [each for each in objects if each["metadata"]["name"] == "llmservice-operator-gateway-pods"]
    (port,) = pods["spec"]["ports"]
    namespace = pods["metadata"]["namespace"]
    assert platform.gateway_url == f"http://{pods['metadata']['name']}.{namespace}.svc:{port['port']}"
    assert platform.gateway_namespaces == ("team-a",)
    own = gateway_objects(values)
    labels = own["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert pods["spec"]["clusterIP"] == "None" and pods["spec"]["selector"].items() <= labels.items()
    (rule,) = [
        each for each in own["NetworkPolicy"]["spec"]["ingress"] if each["ports"][0]["port"] == port["targetPort"]
    ]
    (operator,) = [
        each for each in objects if each["kind"] == "Deployment" and each["metadata"]["name"] == "llmservice-operator"
    ]
    selected = rule["from"][-1]["podSelector"]["matchLabels"]
    assert selected.items() <= operator["spec"]["template"]["metadata"]["labels"].items()
    assert from_environment(operator_variables({})).platform.gateway_url == ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gateway": {**NGINX, "namespaces": ["a"], "defaultNamespace": "b"}}, "gateway.defaultNamespace"),
        (
            {"watchNamespaces": ["a"], "scaling": {"adapter": "none"}, "gateway": {**NGINX, "namespaces": ["b"]}},
            "gateway.namespaces",
        ),
        ({"gateway": {"type": "Envoy"}}, "gateway"),
        ({"gateway": {**NGINX, "defaultNamespace": 'a"; }'}}, "defaultNamespace"),
        ({"gateway": {**NGINX, "domain": "LLM.example.com"}}, "domain"),
        ({"gateway": {**NGINX, "domain": "example"}}, "domain"),
        ({"gateway": {**NGINX, "domain": f"{'a.' * 62}example"}}, "domain"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render(values)


def test_a_pod_monitor_scrapes_its_pods_and_leaves_their_namespaces_to_prometheus() -> None:
    monitor = {"gateway": {"podMonitor": {"enabled": True, "labels": {"release": "kps"}}}}
    objects = gateway_objects({"gateway": NGINX, "metrics": monitor})
    made = objects["PodMonitor"]
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert made["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "honorLabels": False, "interval": "30s"}]
    assert made["metadata"]["labels"]["release"] == "kps"
    assert "PodMonitor" not in gateway_objects({"gateway": NGINX})
    assert not of_kind(render({"metrics": monitor}), "PodMonitor"), "there is no gateway"
