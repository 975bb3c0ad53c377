"""What the chart renders for scaling: one server of the metrics API, rights for it, and the way to Prometheus.

No cluster is asked; `test_chart_scaling_install.py` installs it for real.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.config import settings
from support.helm import ROOT, HelmError, of_kind, only, render

ADAPTERS = ("own", "keda", "prometheusAdapter", "none")
LOGIN = {
    "url": "https://prometheus.example.com:9090/team",
    "timeoutSeconds": 7,
    "windowSeconds": 120,
    "tokenSecret": {"name": "token", "key": "bearer"},
    "clientCertificateSecret": "client",
    "headers": {"X-Scope-OrgID": "team"},
    "labels": {"namespace": "exported_namespace", "pod": "exported_pod"},
    "matchers": 'cluster="a", env=~"p|q"',
}


def scaling(adapter: str, **prometheus: Any) -> dict[str, Any]:
    """Values for an adapter, with a Prometheus."""
    return {"scaling": {"adapter": adapter, "prometheus": {"url": "http://prometheus:9090", **prometheus}}}


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The operator's pod."""
    found: dict[str, Any] = only(objects, "Deployment")["spec"]["template"]["spec"]
    return found


def read(objects: list[dict[str, Any]]) -> tuple[settings.Settings, set[str]]:
    """The settings as the operator reads them from its pod's environment, and the variables that it doesn't read."""

    seen: set[str] = set()

    class Environment(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            seen.add(key)
            return super().get(key, default)

    filled = {"metadata.namespace": "llmservice-system", "status.podIP": "10.0.0.7"}
    environment = Environment(
        (each["name"], each["value"] if "value" in each else filled[each["valueFrom"]["fieldRef"]["fieldPath"]])
        for each in pod(objects)["containers"][0]["env"]
    )
    return settings.from_environment(environment), set(environment) - seen


def rules(objects: list[dict[str, Any]], group: str) -> list[dict[str, Any]]:
    """All rules of the operator's roles that concern an API group."""
    bound = {
        each["roleRef"]["name"] for kind in ("RoleBinding", "ClusterRoleBinding") for each in of_kind(objects, kind)
    }
    roles = of_kind(objects, "Role") + of_kind(objects, "ClusterRole")
    return [
        rule
        for role in roles
        if role["metadata"]["name"] in bound
        for rule in role["rules"]
        if group in rule["apiGroups"]
    ]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_operator_reads_all_that_its_pod_is_given(adapter: str) -> None:
    values = scaling(adapter, **LOGIN)
    values["scaling"]["keda"] = {"authentication": "prometheus", "authModes": "bearer,tls"}
    found, unread = read(render(values))
    assert unread == set()
    assert found.scaling.adapter == adapter


def test_values_reach_the_operators_settings() -> None:
    values = scaling("own", **LOGIN, caConfigMap={"name": "ca", "key": "root.pem"})
    values["scaling"]["intervalSeconds"] = 20
    found, _ = read(render({**values, "clusterDomain": "k8s.example.com"}))
    assert found.scaling.interval_seconds == 20
    assert found.scaling.pod_ip == "10.0.0.7"
    prometheus = found.prometheus
    assert prometheus.url == LOGIN["url"]
    assert (prometheus.timeout_seconds, prometheus.window_seconds) == (7, 120)
    assert (prometheus.namespace_label, prometheus.pod_label) == ("exported_namespace", "exported_pod")
    assert prometheus.headers == LOGIN["headers"]
    assert prometheus.matchers == LOGIN["matchers"]
    assert not prometheus.insecure
    assert found.platform.cluster_domain == "k8s.example.com"


def test_prometheus_adapter_reads_series_of_the_operators_own_pod_alone() -> None:
    """Any pod can tell series of these names; none can tell the namespace of the operator's pod."""
    values = scaling("prometheusAdapter", **LOGIN)
    (found,) = (each for each in of_kind(render(values), "ConfigMap") if "rules.yaml" in each["data"])
    rules_of = yaml.safe_load(found["data"]["rules.yaml"])["externalRules"]
    assert rules_of == yaml.safe_load(found["data"]["values.yaml"])["rules"]["external"]
    own = f'exported_namespace="{found["metadata"]["namespace"]}",{LOGIN["matchers"]}}}'
    for rule in rules_of:
        assert own in rule["seriesQuery"] and own in rule["metricsQuery"]


def test_user_and_password_are_mounted_where_the_operator_looks_for_them() -> None:
    objects = render(scaling("own", basicAuthSecret="login"))
    found = read(objects)[0].prometheus
    (mount,) = (each for each in pod(objects)["containers"][0]["volumeMounts"] if "basic-auth" in each["name"])
    (volume,) = (each for each in pod(objects)["volumes"] if each["name"] == mount["name"])
    assert volume["secret"]["secretName"] == "login"
    files = {f"{mount['mountPath']}/{item['path']}": item["key"] for item in volume["secret"]["items"]}
    assert files == {str(found.username_file): "username", str(found.password_file): "password"}


@pytest.mark.parametrize("source", ["caSecret", "caConfigMap"])
def test_files_are_mounted_where_the_operator_looks_for_them(source: str) -> None:
    objects = render(scaling("own", **LOGIN, **{source: {"name": "ca", "key": "root.pem"}}))
    container = pod(objects)["containers"][0]
    volumes = {each["name"]: each for each in pod(objects)["volumes"]}
    files = {}
    for mount in container["volumeMounts"]:
        assert mount["readOnly"]
        assert "subPath" not in mount, "a changed Secret would never be seen"
        volume = volumes.pop(mount["name"])
        origin = volume.get("secret") or volume["configMap"]
        for item in origin["items"]:
            name = origin.get("secretName") or origin["name"]
            files[f"{mount['mountPath']}/{item['path']}"] = f"{name}/{item['key']}"
    assert volumes == {}
    found = read(objects)[0].prometheus
    paths = (found.ca_file, found.token_file, found.cert_file, found.key_file)
    origins = ["ca/root.pem", "token/bearer", "client/tls.crt", "client/tls.key"]
    assert [files.get(str(path)) for path in paths] == origins


def test_the_metrics_api_leads_to_the_operator() -> None:
    objects = render(scaling("own"), release="mine")
    served = only(objects, "APIService")
    assert served["metadata"]["name"] == external_metrics.API_SERVICE
    assert (served["spec"]["group"], served["spec"]["version"]) == (
        external_metrics.API_GROUP,
        external_metrics.API_VERSION,
    )
    assert not {"caBundle", "insecureSkipTLSVerify"} & set(served["spec"]), "only the operator writes it"
    where = served["spec"]["service"]
    (service,) = [each for each in of_kind(objects, "Service") if each["metadata"]["name"] == where["name"]]
    assert service["metadata"]["namespace"] == where["namespace"]
    assert "selector" not in service["spec"], "a standby would get its requests"
    (port,) = service["spec"]["ports"]
    ports = {each["name"]: each["containerPort"] for each in pod(objects)["containers"][0]["ports"]}
    found = read(objects)[0].scaling
    assert port["port"] == where["port"]
    assert port["targetPort"] == ports["metrics-api"] == found.api_port
    assert found.api_service == where["name"]


def test_no_api_is_announced_that_nobody_serves() -> None:
    values = scaling("own")
    assert not of_kind(render({**values, "replicas": 0}), "APIService")
    for adapter in ADAPTERS[1:]:
        objects = render(scaling(adapter))
        assert not of_kind(objects, "APIService")
        assert not [each for each in of_kind(objects, "Service") if "selector" not in each["spec"]]
        assert not rules(objects, "apiregistration.k8s.io") + rules(objects, "authentication.k8s.io")
        assert "metrics-api" not in {each["name"] for each in pod(objects)["containers"][0]["ports"]}


def test_rights_that_reach_beyond_are_named_object_by_object() -> None:
    objects = render(scaling("own"), release="mine")
    (service,) = rules(objects, "apiregistration.k8s.io")
    assert service["resourceNames"] == [external_metrics.API_SERVICE]
    for role in of_kind(objects, "Role"):
        if role["metadata"]["namespace"] == "kube-system":
            (rule,) = role["rules"]
            assert rule["resourceNames"] == ["extension-apiserver-authentication"]
            assert rule["verbs"] == ["get"]
    for rule in rules(objects, "discovery.k8s.io"):
        assert "resourceNames" in rule or rule["verbs"] == ["create"]


def test_whom_a_team_lets_read_may_read_what_is_served_and_nothing_else() -> None:
    objects = render(scaling("own"))
    (reader,) = [each for each in of_kind(objects, "ClusterRole") if each["metadata"]["name"].endswith("reader")]
    (rule,) = reader["rules"]
    assert rule["apiGroups"] == [external_metrics.API_GROUP]
    assert set(rule["resources"]) == {external_metrics.LOAD, *external_metrics.LATENCIES.values()}
    assert rule["verbs"] == ["list"]
    assert not rules(objects, external_metrics.API_GROUP), "bound to a subject"


def test_each_adapter_may_write_its_own_autoscaler_alone() -> None:
    for adapter in ADAPTERS:
        objects = render(scaling(adapter))
        writes = {
            resource
            for group in ("autoscaling", "keda.sh")
            for rule in rules(objects, group)
            for resource in rule["resources"]
            if "patch" in rule["verbs"]
        }
        expected = {"keda": {"scaledobjects"}, "none": set()}.get(adapter, {"horizontalpodautoscalers"})
        assert writes == expected, adapter


def test_watched_namespaces_scale_without_a_cluster_role() -> None:
    for adapter in ("keda", "prometheusAdapter"):
        objects = render({**scaling(adapter), "watchNamespaces": ["team-a"], "crds": {"enabled": False}})
        assert not [each["kind"] for each in objects if each["kind"].startswith("Cluster")]
        assert rules(objects, "keda.sh" if adapter == "keda" else "autoscaling")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"watchNamespaces": ["a"]}, "set scaling.adapter to keda, prometheusAdapter or none"),
        ({"scaling": {"adapter": "keda"}}, "set scaling.prometheus.url"),
        (scaling("keda", headers={"X-Scope-OrgID": "a,b"}), "KEDA takes no header"),
        (
            scaling("none", caSecret={"name": "a"}, caConfigMap={"name": "b"}),
            "caSecret and scaling.prometheus.caConfigMap are both set",
        ),
        ({"scaling": {"adapter": "Own"}}, "adapter"),
        ({"scaling": {"interval": 15}}, "interval"),
        ({"scaling": {"intervalSeconds": 0}}, "intervalSeconds"),
        (scaling("own", url="prometheus:9090"), "url"),
        (scaling("own", url="http://user:secret@prometheus:9090"), "url"),
        (scaling("own", timeoutSeconds=61), "timeoutSeconds"),
        (scaling("own", windowSeconds=5), "windowSeconds"),
        (scaling("own", insecureSkipVerify="yes"), "insecureSkipVerify"),
        (scaling("own", tokenSecret="token"), "tokenSecret"),
        (scaling("own", caSecret={"name": "CA"}), "caSecret"),
        (scaling("own", headers={"X Scope": "a"}), "headers"),
        (scaling("own", headers={"X-Scope-OrgID": 1}), "headers"),
        (scaling("own", headers={"X-Scope-OrgID": "a\nb"}), "headers"),
        (scaling("own", labels={"pod": "the-pod"}), "labels"),
        (scaling("own", matchers="cluster=a"), "matchers"),
        (scaling("own", matchers='{cluster="a"}'), "matchers"),
        ({"scaling": {"keda": {"authModes": "password"}}}, "authModes"),
        ({"metrics": {"engines": {"podMonitor": {"interval": "often"}}}}, "interval"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmError) as refusal:
        render(values)
    assert words in str(refusal.value)


def test_engines_are_scraped_in_all_namespaces_or_in_those_that_are_served() -> None:
    values = {
        "metrics": {"engines": {"podMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "kps"}}}}
    }
    monitor = only(render(values), "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "kps"
    assert monitor["spec"]["namespaceSelector"] == {"any": True}
    now, before = monitor["spec"]["podMetricsEndpoints"]
    assert now == {"port": "metrics", "path": "/metrics", "interval": "10s"}
    assert (before["port"], before["path"], before["interval"]) == ("http", "/metrics", "10s")
    some = only(render({**values, **scaling("none"), "watchNamespaces": ["team-a"]}), "PodMonitor")
    assert some["spec"]["namespaceSelector"] == {"matchNames": ["team-a"]}


def test_the_monitor_of_engines_selects_engines() -> None:
    monitor = only(render({"metrics": {"engines": {"podMonitor": {"enabled": True}}}}), "PodMonitor")
    for golden in sorted((ROOT / "tests" / "unit" / "golden").glob("*.yaml")):
        children = [each for each in yaml.safe_load_all(golden.read_text()) if each]
        if not of_kind(children, "StatefulSet"):
            continue
        *others, template = (each["spec"]["template"] for each in of_kind(children, "StatefulSet"))
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert wanted <= template["metadata"]["labels"].items()
        assert not any(wanted <= other["metadata"]["labels"].items() for other in others), "rank 0 alone has metrics"
        ports = {port["name"] for each in template["spec"]["containers"] for port in each.get("ports", ())}
        assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= ports
        assert scraped_ports(monitor, template) == {"metrics"}


def scraped_ports(monitor: dict[str, Any], template: dict[str, Any]) -> set[str]:
    """The ports of a pod that the Prometheus operator would scrape."""
    annotations = template["metadata"].get("annotations", {})
    found = set()
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        keeps = [rule for rule in endpoint.get("relabelings", ()) if rule["action"] == "keep"]
        assert all(rule["sourceLabels"] == ["__meta_kubernetes_pod_annotation_prometheus_io_port"] for rule in keeps)
        if all(re.fullmatch(rule["regex"], annotations.get("prometheus.io/port", "")) for rule in keeps):
            found.add(endpoint["port"])
    return found


@pytest.mark.parametrize("release", sorted((ROOT / "tests" / "fixtures").glob("[0-9]*")), ids=lambda each: each.name)
def test_engines_of_an_earlier_release_are_scraped_until_they_are_replaced(release: Path) -> None:
    monitor = only(render({"metrics": {"engines": {"podMonitor": {"enabled": True}}}}), "PodMonitor")
    pods = [
        child["spec"]["template"]
        for file in sorted((release / "children").glob("*.yaml"))
        for child in yaml.safe_load_all(file.read_text())
        if child and child["kind"] == "StatefulSet"
    ]
    assert pods
    for pod in pods:
        ports = {port["name"] for each in pod["spec"]["containers"] for port in each["ports"]}
        answers = "http" in ports  # the other pods of a replica on several nodes have no metrics
        expected = {"metrics"} if "metrics" in ports else {"http"} if answers else set()
        assert scraped_ports(monitor, pod) & ports == expected


def test_annotations_of_the_operators_pod_are_the_users_where_he_states_them() -> None:
    template = only(render({"podAnnotations": {"prometheus.io/scrape": "false"}}), "Deployment")["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "false"
    assert annotations["prometheus.io/port"] == "9090"


def test_prometheus_adapter_gets_a_rule_for_each_metric() -> None:
    configuration = only(render(scaling("prometheusAdapter")), "ConfigMap")["data"]
    found = yaml.safe_load(configuration["rules.yaml"])["externalRules"]
    assert yaml.safe_load(configuration["values.yaml"])["rules"]["external"] == found
    assert {each["seriesQuery"].partition("{")[0] for each in found} == {
        external_metrics.LOAD,
        *external_metrics.LATENCIES.values(),
    }
    for each in found:
        assert each["resources"]["overrides"] == {external_metrics.NAMESPACE_LABEL: {"resource": "namespace"}}
