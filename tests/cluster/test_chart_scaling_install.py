"""The chart's metrics API on a real cluster: it comes, works, and goes without a trace.

A cluster has one external.metrics.k8s.io: no other program may serve it while these tests run. The chart is installed
for the whole cluster, and its operator is then configured for the test's namespace only, so that it can share the
cluster with other tests.
"""

import base64
import dataclasses
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from builders.services import COMMIT
from llmservice_operator import __version__
from llmservice_operator.autoscaling import external_metrics
from support.cluster import Cluster, refused, wait_until
from support.helm import CHART, ROOT, HelmError, helm, only, render

pytestmark = pytest.mark.cluster_wide

API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
API_SERVICE = f"{API_SERVICES}/{external_metrics.API_SERVICE}"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ALL_KINDS = (
    API_SERVICES,
    *(f"{RBAC}/{kind}" for kind in ("clusterroles", "clusterrolebindings", "roles", "rolebindings")),
    *(f"/api/v1/{kind}" for kind in ("services", "serviceaccounts", "configmaps", "endpoints")),
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/apps/v1/deployments",
)
"""Collections of the whole cluster in which the chart or its operator makes something for scaling."""
PROMETHEUS = "http://prometheus.monitoring.svc:9090"
OLD_CHART = ROOT / "tests" / "fixtures" / "0.1.0" / "llmservice-operator-0.1.0.tgz"
SERVICE = {
    "apiVersion": "llmservice.dev/v1alpha1",
    "kind": "LLMService",
    "metadata": {"name": "chat"},
    "spec": {
        "model": {"source": "hf://org/model", "revision": COMMIT},
        "accelerator": {"products": ["NONE-SUCH"]},
        "scaling": {"maxReplicas": 3, "targets": {"timeToFirstToken": {"p99": "200ms"}}},
    },
}


@dataclasses.dataclass(frozen=True)
class Release:
    """A release of a name of its own, in a namespace of its own."""

    cluster: Cluster
    namespace: str
    name: str

    def helm(self, verb: str, *options: str, chart: str = str(CHART), **values: Any) -> str:
        """`helm install` or `upgrade` with the images of the local cluster."""
        given = {
            "fullnameOverride": self.name,
            "imageRegistry": "localhost",
            "image": {"pullPolicy": "Never", "tag": __version__},
            "runtime": {"pullPolicy": "Never"},
            "crds": {"enabled": False},
            "resyncSeconds": 60,
            # It would be in force for the tests beside these. The earlier chart has none.
            **({"admissionPolicies": {"enabled": False}} if chart == str(CHART) else {}),
            **values,
        }
        alone = ["--post-renderer", "sed", "--post-renderer-args", self._serve_alone()]
        command = [verb, self.name, chart, "--namespace", self.namespace, "--timeout", "120s", *alone, *options]
        return helm(*command, kubeconfig=self.cluster.kubeconfig, values=given)

    def _serve_alone(self) -> str:
        return rf'/name: LLMSERVICE_NAMESPACES$/{{n;s/""/"{self.namespace}"/}}'

    def uninstall(self) -> None:
        """`helm uninstall`."""
        helm("uninstall", self.name, "--namespace", self.namespace, "--wait", kubeconfig=self.cluster.kubeconfig)

    def get(self, path: str) -> dict[str, Any]:
        """An object; empty if there is none."""
        answer = self.cluster.request("GET", path)
        return answer.body if answer.ok else {}

    def available(self) -> bool:
        """Whether the API server gets an answer from the metrics API, and it is this release's."""
        found = self.get(API_SERVICE)
        conditions = {each["type"]: each["status"] for each in found.get("status", {}).get("conditions") or ()}
        where = found.get("spec", {}).get("service") or {}
        return where.get("namespace") == self.namespace and conditions.get("Available") == "True"

    def traces(self) -> list[str]:
        """What of this release is in the cluster."""
        return [
            f"{path} {each['metadata']['name']}"
            for path in ALL_KINDS
            for each in self.cluster.request("GET", path).body["items"]
            if self.name in (each["metadata"]["name"], *(each["metadata"].get("labels") or {}).values())
            or each["metadata"]["name"].startswith(f"{self.name}-")
            or each.get("spec", {}).get("service", {}).get("namespace") == self.namespace
        ]

    def hpa(self) -> dict[str, Any]:
        """The autoscaler of the service; empty if there is none."""
        return self.get(f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers/chat")

    def hpa_is_told(self) -> bool:
        """Whether the HPA gets its number."""
        conditions = self.hpa().get("status", {}).get("conditions") or ()
        return any(each["type"] == "ScalingActive" and each["status"] == "True" for each in conditions)


@pytest.fixture
def release(cluster: Cluster, namespace: str) -> Iterator[Release]:
    """Nothing is installed yet; afterwards nothing is installed any more."""
    assert not cluster.request("GET", API_SERVICE).ok, "another program serves external.metrics.k8s.io in this cluster"
    release = Release(cluster, namespace, f"scaling-{secrets.token_hex(3)}")
    yield release
    options = ("--namespace", namespace, "--ignore-not-found", "--wait")
    helm("uninstall", release.name, *options, kubeconfig=cluster.kubeconfig)
    cluster.request("DELETE", API_SERVICE)


def scaling(adapter: str = "own") -> dict[str, Any]:
    """Values of scaling."""
    return {"adapter": adapter, "prometheus": {"url": PROMETHEUS}}


def test_it_serves_the_hpa_and_goes_without_a_trace(cluster: Cluster, release: Release) -> None:
    notes = release.helm("install", "--wait", scaling={"adapter": "own"})
    assert "NoPrometheus" in notes
    wait_until(release.available, "the API server reaching the metrics API")
    (environment,) = [
        each["value"]
        for each in release.get(f"/apis/apps/v1/namespaces/{release.namespace}/deployments/{release.name}")["spec"][
            "template"
        ]["spec"]["containers"][0]["env"]
        if each["name"] == "LLMSERVICE_NAMESPACES"
    ]
    assert environment == release.namespace

    assert "NoPrometheus" not in release.helm("upgrade", "--wait", scaling=scaling())
    assert cluster.create(release.namespace, SERVICE).ok
    wait_until(release.hpa_is_told, "the HPA getting its number")
    hpa = release.hpa()["metadata"]["uid"]

    authority = release.get(API_SERVICE)["spec"]["caBundle"]
    assert base64.b64decode(authority).startswith(b"-----BEGIN CERTIFICATE-----")
    release.helm("upgrade", scaling=scaling())
    assert release.get(API_SERVICE)["spec"]["caBundle"] == authority, "an upgrade cuts the API off"
    release.helm("upgrade", "--wait", scaling=scaling(), podAnnotations={"new": "pod"})
    wait_until(
        lambda: release.get(API_SERVICE)["spec"].get("caBundle") != authority and release.available(),
        "the API server reaching the new operator",
    )
    assert release.hpa()["metadata"]["uid"] == hpa

    release.helm("upgrade", "--wait", scaling=scaling("none"))
    assert not cluster.request("GET", API_SERVICE).ok
    wait_until(lambda: not release.hpa(), "the autoscaler gone, as there is no adapter")
    release.helm("upgrade", "--wait", scaling=scaling())
    wait_until(release.available, "the API server reaching the metrics API again")

    release.uninstall()
    wait_until(lambda: not release.traces(), lambda: f"nothing left in the cluster; there is {release.traces()}")
    with cluster.namespace() as other:
        path = f"/api/v1/namespaces/{other}"
        assert cluster.request("DELETE", path).ok
        wait_until(lambda: cluster.request("GET", path).status == 404, "a namespace deleted after the uninstall")


def test_without_an_operator_no_namespace_hangs(cluster: Cluster, release: Release) -> None:
    release.helm("install", "--wait", scaling=scaling())
    wait_until(release.available, "the API server reaching the metrics API")
    release.helm("upgrade", "--wait", scaling=scaling(), replicas=0)
    with cluster.namespace() as other:
        path = f"/api/v1/namespaces/{other}"
        assert cluster.request("DELETE", path).ok
        wait_until(lambda: cluster.request("GET", path).status == 404, "a namespace deleted while no operator runs")


def test_an_upgrade_from_0_1_0(cluster: Cluster, release: Release) -> None:
    release.helm("install", chart=str(OLD_CHART), replicas=0)
    release.helm("upgrade", "--wait", "--reset-then-reuse-values", scaling=scaling(), replicas=1)
    wait_until(release.available, "the API server reaching the metrics API")
    release.uninstall()
    wait_until(lambda: not release.traces(), lambda: f"nothing left in the cluster; there is {release.traces()}")


def test_an_upgrade_of_watched_namespaces_asks_for_an_adapter(release: Release) -> None:
    watched = {"watchNamespaces": [release.namespace]}
    release.helm("install", chart=str(OLD_CHART), replicas=0, **watched)
    with pytest.raises(HelmError, match=r"set scaling.adapter to keda, prometheusAdapter or none"):
        release.helm("upgrade", "--reset-then-reuse-values", **watched)
    release.helm("upgrade", "--wait", "--reset-then-reuse-values", scaling=scaling("none"), **watched)


@pytest.mark.parametrize(
    ("server", "adapter"),
    [("keda/keda-metrics-apiserver", "keda"), ("monitoring/prometheus-adapter", "prometheusAdapter")],
)
def test_an_api_that_somebody_else_serves_is_left_alone(
    cluster: Cluster, release: Release, server: str, adapter: str
) -> None:
    namespace, _, name = server.partition("/")
    foreign = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": external_metrics.API_SERVICE},
        "spec": {
            "group": external_metrics.API_GROUP,
            "version": external_metrics.API_VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": namespace, "name": name},
        },
    }
    assert cluster.request("POST", API_SERVICES, foreign).ok
    try:
        with pytest.raises(HelmError) as refusal:
            release.helm("install", "--take-ownership", scaling=scaling())
        assert f"is served by the Service {server}" in str(refusal.value)
        assert f"set scaling.adapter to {adapter}" in str(refusal.value)
        assert release.get(API_SERVICE)["spec"]["service"]["name"] == name
        release.helm("install", "--dry-run=server", scaling=scaling(adapter))
    finally:
        assert cluster.request("DELETE", API_SERVICE).ok


@pytest.mark.parametrize("adapter", ["own", "keda", "prometheusAdapter", "none"])
def test_the_api_server_takes_what_each_adapter_needs(cluster: Cluster, adapter: str) -> None:
    assert not refused(cluster, render({"scaling": scaling(adapter)}, namespace="default"))


def test_prometheus_understands_what_prometheus_adapter_asks_it(cluster: Cluster) -> None:
    """The queries as prometheus-adapter fills its templates in for an HPA's metric of one namespace."""
    configuration = only(render({"scaling": scaling("prometheusAdapter")}), "ConfigMap")["data"]["rules.yaml"]
    prometheus = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1"
    for rule in yaml.safe_load(configuration)["externalRules"]:
        ((namespace_label, _),) = rule["resources"]["overrides"].items()
        series = rule["seriesQuery"].partition("{")[0]
        matchers = f'{external_metrics.SERVICE_LABEL}="chat",{namespace_label}="team-a"'
        query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.LabelMatchers>>", matchers)
        assert "<<" not in query
        for path, parameter, text in (("query", "query", query), ("series", "match[]", rule["seriesQuery"])):
            answer = cluster.request("GET", f"{prometheus}/{path}", **{parameter: text})
            assert answer.ok, f"{text}: {answer.body}"
            assert answer.body["status"] == "success"
