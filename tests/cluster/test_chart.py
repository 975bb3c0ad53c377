"""What the chart renders, and what it refuses. No cluster is asked; `test_chart_install.py` installs it for real."""

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator import __version__
from llmservice_operator.config.settings import from_environment
from llmservice_operator.resources.platform import Network
from support import reachability
from support.helm import CHART, ROOT, HelmError, helm, of_kind, only, render
from support.reachability import Outside, Pod

CRDS = ROOT / "crds"
PRICE = {"price": "1", "source": "contract 4711", "date": "2026-11-01"}
SHA = "sha256:" + "0123456789abcdef" * 4


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The operator's container."""
    (found,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    """Its environment, without what the cluster fills in."""
    return {each["name"]: each["value"] for each in container(objects)["env"] if "value" in each}


def test_helm_lint_finds_nothing() -> None:
    helm("lint", "--strict", str(CHART))


def test_generated_manifests_are_current() -> None:
    done = subprocess.run(
        [ROOT / "manifests" / "render.sh", "--check"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_crds_are_the_projects_own() -> None:
    found = {each["metadata"]["name"]: each["spec"] for each in of_kind(render(), "CustomResourceDefinition")}
    files = [yaml.safe_load(file.read_text()) for file in CRDS.glob("*.yaml")]
    assert found == {each["metadata"]["name"]: each["spec"] for each in files}


def test_the_crds_outlive_the_release_unless_told_otherwise() -> None:
    for kept in of_kind(render(), "CustomResourceDefinition"):
        assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    for going in of_kind(render({"crds": {"keep": False}}), "CustomResourceDefinition"):
        assert "helm.sh/resource-policy" not in going["metadata"].get("annotations", {})
    assert not of_kind(render({"crds": {"enabled": False}}), "CustomResourceDefinition")


def test_two_watched_namespaces_get_roles_and_nothing_reaches_beyond() -> None:
    values = {"watchNamespaces": ["team-a", "team-b"], "crds": {"enabled": False}, "scaling": {"adapter": "none"}}
    objects = render(values)
    assert not [each["kind"] for each in objects if each["kind"].startswith("Cluster")]
    roles = {each["metadata"]["namespace"] for each in of_kind(objects, "Role")}
    bindings = {each["metadata"]["namespace"] for each in of_kind(objects, "RoleBinding")}
    assert roles == bindings == {"team-a", "team-b", "llmservice-system"}
    assert environment(objects)["LLMSERVICE_NAMESPACES"] == "team-a,team-b"


def test_no_role_holds_a_wildcard_or_a_way_to_more_rights() -> None:
    objects = render({"rbac": {"ownerReferencesEnforcement": True}})
    rules = [rule for each in objects if each["kind"] in ("Role", "ClusterRole") for rule in each["rules"]]
    assert rules
    for rule in rules:
        assert not {"*", "escalate", "bind", "impersonate"} & {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
        assert not {"secrets", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])


def test_without_rbac_nothing_is_granted() -> None:
    kinds = {each["kind"] for each in render({"rbac": {"create": False}})}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def test_an_existing_service_account_is_used_and_none_made() -> None:
    objects = render({"serviceAccount": {"create": False, "name": "platform"}})
    assert not of_kind(objects, "ServiceAccount")
    assert only(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "platform"
    bindings = of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding")
    accounts = [each for binding in bindings for each in binding["subjects"] if each["kind"] == "ServiceAccount"]
    assert {each["name"] for each in accounts} == {"platform"}


def test_one_registry_goes_before_every_image() -> None:
    objects = render({"imageRegistry": "registry.example.com/ai/"})
    assert container(objects)["image"] == f"registry.example.com/ai/llmservice/operator:{__version__}"
    images = {value for name, value in environment(objects).items() if name.startswith("LLMSERVICE_RUNTIME_IMAGE")}
    assert images == {
        f"registry.example.com/ai/llmservice/{name}:{__version__}"
        for name in ("runtime", "runtime-rocm", "runtime-cpu")
    }


def test_an_images_own_registry_and_digest_win() -> None:
    objects = render({"imageRegistry": "a", "image": {"registry": "b", "tag": "1", "digest": SHA}})
    assert container(objects)["image"] == f"b/llmservice/operator@{SHA}"


def test_every_object_carries_the_common_labels() -> None:
    objects = render(
        {
            "commonLabels": {"cost-centre": "ml"},
            "podDisruptionBudget": {"enabled": True},
            "metrics": {"podMonitor": {"enabled": True}, "engines": {"podMonitor": {"enabled": True}}},
            "dashboards": {"enabled": True},
            "alerts": {"enabled": True},
        }
    )
    kinds = {each["kind"] for each in objects}
    assert {
        "PrometheusRule",
        "ConfigMap",
        "PodMonitor",
        "PodDisruptionBudget",
        "CustomResourceDefinition",
        "APIService",
    } <= kinds
    for each in objects:
        assert each["metadata"]["labels"]["cost-centre"] == "ml", each["kind"]
    deployment = only(objects, "Deployment")["spec"]
    assert deployment["template"]["metadata"]["labels"]["cost-centre"] == "ml"
    assert "cost-centre" not in deployment["selector"]["matchLabels"]


def test_dashboards_are_config_maps_that_grafanas_sidecar_finds() -> None:
    found = of_kind(render({"dashboards": {"enabled": True, "annotations": {"grafana_folder": "LLM"}}}), "ConfigMap")
    assert len(found) == len({each["metadata"]["name"] for each in found}) == 5
    for each in found:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "LLM"}
        ((name, text),) = each["data"].items()
        assert json.loads(text) == json.loads((CHART / "dashboards" / name.removeprefix("llmservice-")).read_text())
    assert not of_kind(render(), "ConfigMap") and not of_kind(render(), "PrometheusRule")


def test_alerts_are_of_this_release(tmp_path: Path) -> None:
    values = {"enabled": True, "availabilityPercent": 99.9, "runbookURL": "https://runbooks.example.com/llm/"}
    rule = only(render({"alerts": values}, namespace="platform"), "PrometheusRule")
    text = yaml.safe_dump(rule["spec"])
    assert 'namespace="platform"' in text and "/ 0.001" in text
    assert "https://runbooks.example.com/llm/LLMServiceStalled.md" in text
    assert not {"OPERATOR_NAMESPACE", "ERROR_BUDGET", "RUNBOOKS"} & set(re.findall(r"[A-Z_]+", text))
    (tmp_path / "rules.yaml").write_text(text)
    subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yaml"], check=True, capture_output=True)


@pytest.mark.parametrize("url", ["runbooks", "https://a b", 'https://a"b', "javascript:x"])
def test_an_address_of_runbooks_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(HelmError, match="runbookURL"):
        render({"alerts": {"enabled": True, "runbookURL": url}})


def test_everything_that_selects_the_operator_selects_its_pods() -> None:
    objects = render({"podDisruptionBudget": {"enabled": True}, "metrics": {"podMonitor": {"enabled": True}}})
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    (selector,) = [each["spec"]["selector"] for each in of_kind(objects, "Service") if "selector" in each["spec"]]
    assert selector.items() <= labels
    for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
        assert only(objects, kind)["spec"]["selector"]["matchLabels"].items() <= labels


def test_a_spread_without_a_selector_gets_the_pods_own() -> None:
    own = {"matchLabels": {"mine": "yes"}}
    spread = [{"maxSkew": 1, "topologyKey": "zone"}, {"maxSkew": 2, "topologyKey": "rack", "labelSelector": own}]
    deployment = only(render({"topologySpreadConstraints": copy.deepcopy(spread)}), "Deployment")["spec"]
    first, second = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert first == {**spread[0], "labelSelector": deployment["selector"]}
    assert second == spread[1]


def test_scheduling_values_reach_the_pod() -> None:
    values: dict[str, Any] = {
        "nodeSelector": {"role": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "imagePullSecrets": [{"name": "login"}],
    }
    pod = only(render(values), "Deployment")["spec"]["template"]["spec"]
    assert {key: pod[key] for key in values} == values


def test_prices_reach_the_operator_as_numbers_and_as_texts() -> None:
    one, other = {**PRICE, "price": 2.49}, {**PRICE, "price": "0.80"}
    objects = render({"cost": {"currency": "EUR", "gpuHours": {"NVIDIA-H100-80GB-HBM3": one, "NVIDIA-A10": other}}})
    prices = from_environment({"LLMSERVICE_COST": environment(objects)["LLMSERVICE_COST"]}).platform.prices
    assert prices.currency == "EUR"
    assert {product: str(price.per_hour) for product, price in prices.gpu_hours.items()} == {
        "NVIDIA-H100-80GB-HBM3": "2.49",
        "NVIDIA-A10": "0.80",
    }
    assert "LLMSERVICE_COST" not in environment(render())


def test_prices_without_a_currency_are_refused() -> None:
    with pytest.raises(HelmError, match=r"cost\.currency says not in which currency"):
        render({"cost": {"gpuHours": {"NVIDIA-A10": PRICE}}})


def network(objects: list[dict[str, Any]]) -> Network | None:
    """As the operator reads it."""
    return from_environment(environment(objects)).platform.network


def from_namespaces(*names: str) -> dict[str, Any]:
    expression = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [*names]}
    return {"namespaceSelector": {"matchExpressions": [expression]}}


@pytest.mark.parametrize(
    ("url", "namespaces"),
    [
        ("", ["monitoring"]),
        ("http://prometheus.monitoring.svc:9090", ["monitoring"]),
        ("http://prometheus-server.metrics.svc.cluster.local:9090/team", ["monitoring", "metrics"]),
        ("http://prometheus.metrics:9090", ["monitoring", "metrics"]),
        ("http://prometheus:9090", ["monitoring"]),
        ("https://prometheus.example.com", ["monitoring"]),
        ("https://10.0.0.1:9090", ["monitoring"]),
    ],
)
def test_prometheus_is_expected_where_its_url_says(url: str, namespaces: list[str]) -> None:
    objects = render({"scaling": {"prometheus": {"url": url}}})
    found = network(objects)
    assert found == Network(prometheus=(from_namespaces(*namespaces),))
    own = only(objects, "NetworkPolicy")["spec"]["ingress"][0]
    assert own == {"from": [from_namespaces(*namespaces)], "ports": [{"port": 9090, "protocol": "TCP"}]}


def test_what_a_platform_says_of_its_network_reaches_the_operator() -> None:
    peer = {"podSelector": {"matchLabels": {"app": "gateway"}}, "namespaceSelector": {}}
    given = {
        "clients": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}}],
        "gateways": [peer],
        "prometheus": [peer],
        "apiServer": ["10.96.0.1/32", "fd00::1/128"],
        "egress": {"pods": [], "except": ["10.244.0.0/16"]},
    }
    assert network(render({"networkPolicy": given})) == Network(
        clients=tuple(given["clients"]),
        gateways=(peer,),
        prometheus=(peer,),
        pods=(),
        excepted=("10.244.0.0/16",),
        api_server=("10.96.0.1/32", "fd00::1/128"),
    )


def test_switched_off_there_is_no_policy_and_the_operator_makes_none() -> None:
    objects = render({"networkPolicy": {"mode": "Disabled"}})
    assert not of_kind(objects, "NetworkPolicy") and network(objects) is None
    rules = [rule for each in of_kind(objects, "ClusterRole") for rule in each["rules"]]
    (verbs,) = [rule["verbs"] for rule in rules if rule["resources"] == ["networkpolicies"]]
    assert verbs == ["get", "list", "watch", "delete"], "those of before go"


@pytest.mark.parametrize("stated", [{}, {"apiServer": ["172.18.0.2/32"]}])
def test_the_operators_own_ports_are_for_prometheus_and_the_api_server(stated: dict[str, Any]) -> None:
    objects = render({"networkPolicy": stated})
    policy = only(objects, "NetworkPolicy")
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    operator = Pod(policy["metadata"]["namespace"], labels)
    net = reachability.Network([policy])
    other_pod, prometheus, server = Pod("team-a", {}), Pod("monitoring", {}), Outside("172.18.0.2")
    assert net.reaches(prometheus, operator, 9090) and net.reaches(server, operator, 8443)
    for port in (8080, 9090, 8443):
        assert net.reaches(other_pod, operator, port) is (port == 8443 and not stated)
    assert net.reaches(operator, server, 6443)


def test_the_api_servers_addresses_are_read_where_nobody_states_them() -> None:
    def readers(values: dict[str, Any]) -> list[dict[str, Any]]:
        return [each for each in of_kind(render(values), "Role") if each["metadata"]["namespace"] == "default"]

    (role,) = readers({})
    assert role["rules"][0]["resourceNames"] == ["kubernetes"]
    some = {"watchNamespaces": ["team-a"], "scaling": {"adapter": "none"}}
    for values in ({"networkPolicy": {"apiServer": ["10.0.0.1/32"]}}, {"networkPolicy": {"mode": "Disabled"}}, some):
        assert readers(values) == []


def test_extra_objects_are_templates_as_text_or_map() -> None:
    name = {"name": "{{ .Release.Name }}-extra"}
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": name})
    objects = render({"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": name}, text]})
    assert only(objects, "ConfigMap")["metadata"] == only(objects, "Secret")["metadata"]
    assert only(objects, "Secret")["metadata"]["name"] == "llmservice-operator-extra"


def test_what_the_chart_says_about_pods_is_what_the_operator_reads() -> None:
    values = {
        "defaults": {
            "cpuLimit": "1500m",
            "inspectionResources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
            "podLabels": {"cost-center": "42"},
            "podAnnotations": {"example.com/note": 'a "note"'},
        },
        "allowed": {
            "podLabels": [],
            "images": ["registry.example.com/llm/", f"registry.example.com:5000/runtime@{SHA}"],
            "imagesByDigestOnly": True,
            "imagePullSecrets": ["team", "llm-*"],
            "devices": ["rdma/*", "vpc.amazonaws.com/efa"],
        },
    }
    platform = from_environment(environment(render(values))).platform
    assert platform.cpu_limit == "1500m"
    assert platform.inspection_resources == values["defaults"]["inspectionResources"]
    assert platform.pod_labels == values["defaults"]["podLabels"]
    assert platform.pod_annotations == values["defaults"]["podAnnotations"]
    allowed, stated = platform.allowed_pod, values["allowed"]
    assert (allowed.labels, allowed.images_by_digest_only) == ((), True)
    assert list(allowed.images) == stated["images"]
    assert list(allowed.image_pull_secrets) == stated["imagePullSecrets"]
    assert list(allowed.devices) == stated["devices"]


def test_long_release_names_stay_within_what_kubernetes_takes() -> None:
    for adapter in ("own", "prometheusAdapter"):
        values = {"podDisruptionBudget": {"enabled": True}, "scaling": {"adapter": adapter}}
        objects = render(values, release="r" * 53, namespace="kube-system")
        for each in objects:
            assert len(each["metadata"]["name"]) <= 63
        names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
        assert len(set(names)) == len(names)


def test_kubernetes_1_32_is_refused() -> None:
    with pytest.raises(HelmError, match=r"requires kubeVersion"):
        render(kubernetes="1.32.9")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 2}, "replica"),
        ({"image": {"tagg": "1"}}, "tagg"),
        ({"image": {"digest": "sha256:12"}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"runtime": {"images": {"tpu": {"repository": "x"}}}}, "tpu"),
        ({"runtime": {"pullSecrets": [{"name": "login"}]}}, "pullSecrets"),
        ({"imagePullSecrets": ["login"]}, "imagePullSecrets"),
        ({"defaults": {"cpuLimit": "Auto"}}, "cpuLimit"),
        ({"defaults": {"podLabels": {"a": 1}}}, "podLabels"),
        ({"defaults": {"inspectionResources": {"limits": {"nvidia.com/gpu": 1}}}}, "nvidia.com/gpu"),
        ({"allowed": {"images": ["registry.example.com"]}}, "images"),
        ({"allowed": {"images": ["*"]}}, "images"),
        ({"allowed": {"images": ["runtime/a:1"]}}, "images"),
        ({"allowed": {"imagePullSecrets": ["A"]}}, "imagePullSecrets"),
        ({"allowed": {"devices": ["a b"]}}, "devices"),
        ({"replicas": -1}, "replicas"),
        ({"replicas": "2"}, "replicas"),
        ({"workers": 0}, "workers"),
        ({"resyncSeconds": 0}, "resyncSeconds"),
        ({"watchNamespaces": "team-a"}, "watchNamespaces"),
        ({"watchNamespaces": ["Team_A"]}, "watchNamespaces"),
        ({"logging": {"level": "LOUD"}}, "level"),
        ({"crds": {"keep": "yes"}}, "keep"),
        ({"podAnnotations": {"prometheus.io/scrape": True}}, "podAnnotations"),
        ({"metrics": {"podMonitor": {"interval": "often"}}}, "interval"),
        ({"resources": {"requests": {}, "limit": {}}}, "limit"),
        ({"rbac": {"clusterAdmin": True}}, "clusterAdmin"),
        ({"networkPolicy": {"mode": "Off"}}, "mode"),
        ({"networkPolicy": {"client": []}}, "client"),
        ({"networkPolicy": {"clients": [{}]}}, "clients"),
        ({"networkPolicy": {"clients": [{"podSelector": {"app": "web"}}]}}, "podSelector"),
        ({"networkPolicy": {"apiServer": ["10.0.0.1"]}}, "apiServer"),
        ({"networkPolicy": {"egress": {"except": ["everything"]}}}, "except"),
        ({"cost": {"currency": "euro"}}, "currency"),
        ({"cost": {"gpuHours": {"A": {**PRICE, "price": "free"}}}}, "price"),
        ({"cost": {"gpuHours": {"A": {**PRICE, "price": -1}}}}, "price"),
        ({"cost": {"gpuHours": {"A": {**PRICE, "date": "soon"}}}}, "date"),
        ({"cost": {"gpuHours": {"A": {**PRICE, "source": " "}}}}, "source"),
        ({"cost": {"gpuHours": {"A": {"price": "1", "source": "s"}}}}, "date"),
        ({"cost": {"gpuHours": {"A B": PRICE}}}, "A B"),
        ({"cost": {"gpuHours": {"A": {**PRICE, "cpu": "1"}}}}, "cpu"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmError) as refusal:
        render(values)
    assert words in str(refusal.value)
