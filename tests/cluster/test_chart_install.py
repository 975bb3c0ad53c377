"""The chart on a real cluster: install, serve, upgrade, uninstall, install again.

The operator runs as its pod, under the chart's own rights, in a namespace that enforces Pod Security "restricted". It
is configured for that namespace only, so that it may share the cluster with others.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.services import COMMIT
from support.cluster import Cluster, refused, wait_until
from support.helm import CHART, HelmError, helm

pytestmark = pytest.mark.cluster_wide

RELEASE = "llmservice-operator"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/llmservices.llmservice.dev"
MERGE = "application/merge-patch+json"


def values(namespace: str, **more: Any) -> dict[str, Any]:
    """Values for the images of the local cluster and one namespace."""
    return {
        "imageRegistry": "localhost",
        "image": {"pullPolicy": "Never"},
        "runtime": {"pullPolicy": "Never"},
        "watchNamespaces": [namespace],
        "scaling": {"adapter": "none"},
        "resyncSeconds": 60,
        **more,
    }


def install(cluster: Cluster, namespace: str, verb: str, **more: Any) -> str:
    """`helm install` or `helm upgrade`, waiting until the operator is ready. Returns its notes."""
    taking = ["--take-ownership"] if verb == "install" else []
    command = [verb, RELEASE, str(CHART), "--namespace", namespace, "--wait", "--timeout", "120s", *taking]
    return helm(*command, kubeconfig=cluster.kubeconfig, values=values(namespace, **more))


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> Iterator[str]:
    """A namespace that admits restricted pods alone; the CRD's marks of ownership are put back afterwards."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    assert cluster.request("PATCH", f"/api/v1/namespaces/{namespace}", label, content_type=MERGE).ok
    before = cluster.request("GET", CRD_PATH).body["metadata"]
    yield namespace
    try:
        helm("uninstall", RELEASE, "--namespace", namespace, "--ignore-not-found", kubeconfig=cluster.kubeconfig)
    finally:
        after = cluster.request("GET", CRD_PATH).body["metadata"]
        patch = {
            field: dict.fromkeys(after.get(field) or {}) | (before.get(field) or {})
            for field in ("labels", "annotations")
        }
        assert cluster.request("PATCH", CRD_PATH, {"metadata": patch}, content_type=MERGE).ok


def stateful_set(cluster: Cluster, namespace: str) -> dict[str, Any] | None:
    """The engine's StatefulSet, where there is one."""
    answer = cluster.request("GET", f"/apis/apps/v1/namespaces/{namespace}/statefulsets/chat")
    return answer.body if answer.ok else None


def identity(obj: dict[str, Any]) -> tuple[str, int]:
    """What changes when an object is recreated or its spec is written."""
    return obj["metadata"]["uid"], obj["metadata"]["generation"]


def test_install_upgrade_uninstall_and_adopt(cluster: Cluster, restricted: str, tmp_path: Path) -> None:
    notes = install(cluster, restricted, "install")
    assert "kubectl get llms chat --watch" in notes

    service = {
        "apiVersion": "llmservice.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": "chat"},
        "spec": {"model": {"source": "hf://org/model", "revision": COMMIT}, "accelerator": {"products": ["NONE-SUCH"]}},
    }
    path = f"/apis/llmservice.dev/v1alpha1/namespaces/{restricted}/llmservices"
    assert cluster.request("POST", path, service).ok
    first = wait_until(lambda: stateful_set(cluster, restricted), "the StatefulSet of a new service")
    wait_until(
        lambda: cluster.request("GET", f"{path}/chat").body.get("status", {}).get("conditions"),
        "conditions, written under the chart's own rights",
    )

    install(cluster, restricted, "upgrade", podAnnotations={"new": "pod"})
    deployment = cluster.request("GET", f"/apis/apps/v1/namespaces/{restricted}/deployments/{RELEASE}").body
    assert deployment["spec"]["template"]["metadata"]["annotations"]["new"] == "pod"
    assert identity(stateful_set(cluster, restricted) or {}) == identity(first)

    helm("uninstall", RELEASE, "--namespace", restricted, "--wait", kubeconfig=cluster.kubeconfig)
    assert not cluster.request("GET", f"/apis/apps/v1/namespaces/{restricted}/deployments/{RELEASE}").ok
    assert cluster.request("GET", CRD_PATH).ok, "the CRD went with the release"
    assert cluster.request("GET", f"{path}/chat").ok, "the service went with the release"
    assert identity(stateful_set(cluster, restricted) or {}) == identity(first)

    install(cluster, restricted, "install")
    change = {"spec": {"engine": {"maxNumSeqs": 7}}}
    assert cluster.request("PATCH", f"{path}/chat", change, content_type=MERGE).ok
    changed = wait_until(
        lambda: (
            (found := stateful_set(cluster, restricted))
            and found["metadata"]["generation"] > first["metadata"]["generation"]
            and found
        ),
        "the new operator taking over the running service",
    )
    assert changed["metadata"]["uid"] == first["metadata"]["uid"]


def test_a_second_operator_takes_over(cluster: Cluster, restricted: str) -> None:
    install(cluster, restricted, "install", replicas=2)
    lease_path = f"/apis/coordination.k8s.io/v1/namespaces/{restricted}/leases/{RELEASE}"
    holder = wait_until(
        lambda: (answer := cluster.request("GET", lease_path)).ok and answer.body["spec"].get("holderIdentity"),
        "a holder of the Lease",
    )
    pod = holder.partition("_")[0]
    assert cluster.request("DELETE", f"/api/v1/namespaces/{restricted}/pods/{pod}").ok
    wait_until(
        lambda: cluster.request("GET", lease_path).body["spec"].get("holderIdentity") not in (None, "", holder),
        "the other operator holding the Lease",
    )


def test_manifests_without_helm_are_accepted_by_the_api_server(cluster: Cluster) -> None:
    text = helm("template", RELEASE, str(CHART), "--namespace", "default", "--kube-version", "1.37.2", values={})
    assert not refused(cluster, filter(None, yaml.safe_load_all(text)))


def test_a_wrong_value_stops_the_install_before_anything_is_made(cluster: Cluster, restricted: str) -> None:
    with pytest.raises(HelmError, match="workers"):
        install(cluster, restricted, "install", workers=0)
    made = cluster.request("GET", f"/apis/apps/v1/namespaces/{restricted}/deployments").body["items"]
    assert made == []
