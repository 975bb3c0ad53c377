"""The failures of docs/failures.md that Kubernetes' own scheduler and controllers make, and those of images.

Pods are kwok's, on nodes of the tests' own; images are asked of a registry on this machine by the real node.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builders.services import COMMIT, ServiceBuilder, a_service
from llmservice_operator import __version__
from support.aggregation import ensure_fake_nodes
from support.cluster import MERGE, Cluster, wait_until
from support.forty import Case, Json, number_in, prove
from support.lost import MARKED_WITHIN, play_kubelet, unready
from support.operator import operator
from support.registry import PASSWORD, USER, Registry, serve_registry
from support.rollouts import AT_ONCE, Rolled, make_node
from support.serving import Serving
from support.volumes import volumes

pytestmark = [pytest.mark.own_nodes, pytest.mark.timeout(900)]

KWOK = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
H100 = "NVIDIA-H100-80GB-HBM3"
TEAM = {"key": "team", "value": "b", "effect": "NoSchedule"}
STAND_IN = f"localhost/llmservice/stand-in:{__version__}"
LOST_SECONDS = 10


@pytest.fixture
def site(cluster: Cluster) -> Iterator[Case]:
    """A service that isn't made yet, in a namespace of its own with an operator. Nodes have to be there before."""
    ensure_fake_nodes(cluster, 1)
    settings = {"LLMSERVICE_NODE_LOST_SECONDS": str(LOST_SECONDS)}
    with cluster.namespace("failure") as namespace, operator(cluster.kubeconfig, [namespace], settings):
        case = Case(Serving(cluster, namespace), "chat")
        yield case
        gone(case)


def gone(case: Case) -> None:
    """Its pods end while there are their nodes."""
    case.serving.delete("LLMService", case.name)
    wait_until(lambda: not case.pods(), "its pods are gone", timeout=120)


@pytest.fixture
def node(cluster: Cluster) -> Iterator[str]:
    """A node with two GPUs."""
    name = f"gpus-{secrets.token_hex(3)}"
    make_node(cluster, name, 2, **{"nvidia.com/gpu.product": H100})
    yield name
    cluster.request("DELETE", f"/api/v1/nodes/{name}")


def service(case: Case, node: str, source: str = "hf://org/name", **spec: Any) -> ServiceBuilder:
    """On that node alone."""
    there = {"nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": [KWOK]}
    made = a_service(case.name).from_source(source, COMMIT if source.startswith("hf://") else None).with_replicas(1)
    return made.with_spec(**{"scheduling": there, "resources": {"cpu": AT_ONCE}, **spec})


def make(case: Case, path: str, name: str, **fields: Any) -> None:
    """Another object of the namespace, or of none."""
    where = path if path.startswith("/") else f"/api/v1/namespaces/{case.serving.namespace}/{path}"
    answer = case.serving.cluster.request("POST", where, {"metadata": {"name": name}, **fields})
    assert answer.ok, answer.message


def test_gpus_that_are_taken(node: str, site: Case) -> None:
    site.apply(service(site, node).with_replicas(3))

    def fewer(_: Json) -> int:
        wait_until(lambda: f"{node} has 0 of 2 free" in site.findings()[0]["message"], "the nodes are counted")
        return 2

    prove(site, 25, site.is_turned_down, fewer)


def test_more_cpu_than_a_node_has(node: str, site: Case) -> None:
    site.apply(service(site, node, resources={"cpu": "100"}))
    prove(site, 26, site.is_turned_down, AT_ONCE)


def test_a_taint(node: str, site: Case) -> None:
    taints = [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}, TEAM]
    path, body = f"/api/v1/nodes/{node}", {"spec": {"taints": taints}}
    assert site.serving.cluster.request("PATCH", path, body, content_type=MERGE).ok
    site.apply(service(site, node))

    def tolerate(finding: Json) -> list[Json]:
        assert "{key: team, value: b, effect: NoSchedule}" in finding["fix"]
        return [KWOK, TEAM]

    prove(site, 27, site.is_turned_down, tolerate)


def test_a_product_that_no_node_has(node: str, site: Case) -> None:
    site.apply(service(site, node, accelerator={"products": ["Tesla-T4"]}))
    prove(site, 28, site.is_turned_down, lambda finding: [number_in(finding["fix"], f"({H100})")])


def test_a_quota(node: str, site: Case) -> None:
    make(site, "resourcequotas", "gpus", spec={"hard": {"requests.nvidia.com/gpu": "1"}})
    wait_until(lambda: has_status(site, "resourcequotas/gpus"), "the quota is in force")
    site.apply(service(site, node).with_replicas(2))
    finding = prove(site, 29, lambda: site.is_reported("FailedCreate", "StatefulSet"), 1)
    assert "limited to requests.nvidia.com/gpu=1" in finding["message"]


def has_status(case: Case, path: str) -> bool:
    answer = case.serving.cluster.request("GET", f"/api/v1/namespaces/{case.serving.namespace}/{path}")
    return bool(answer.body.get("status", {}).get("hard"))


@pytest.fixture
def policy(site: Case) -> Iterator[Callable[[], None]]:
    """An admission policy that refuses every pod of the namespace; what lifts it."""
    name, api = site.serving.namespace, "/apis/admissionregistration.k8s.io/v1"
    policies, bindings = f"{api}/validatingadmissionpolicies", f"{api}/validatingadmissionpolicybindings"
    pods = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    rule = {"expression": "has(object.metadata.labels) && 'cost-centre' in object.metadata.labels"}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": pods, **here},
        "validations": [{**rule, "message": "every pod needs the label cost-centre"}],
    }
    make(site, policies, name, spec=spec)
    make(site, bindings, name, spec={"policyName": name, "validationActions": ["Deny"]})

    def lift() -> None:
        for path in (bindings, policies):
            site.serving.cluster.request("DELETE", f"{path}/{name}")

    yield lift
    lift()


def test_an_admission_policy(node: str, site: Case, policy: Callable[[], None]) -> None:
    probe = {"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    pods = f"/api/v1/namespaces/{site.serving.namespace}/pods"
    wait_until(
        lambda: site.serving.cluster.request("POST", pods, probe, dryRun="All").status == 422, "the policy is in force"
    )
    site.apply(service(site, node))
    finding = prove(site, 30, lambda: site.is_reported("FailedCreate", "StatefulSet"), lambda finding: policy())
    assert "cost-centre" in finding["message"]


def test_a_limit_range(node: str, site: Case) -> None:
    limits = [{"type": "Container", "max": {"memory": "1Gi"}, "default": {"memory": "1Gi"}}]
    make(site, "limitranges", "small", spec={"limits": limits})
    site.apply(service(site, node, resources={"cpu": AT_ONCE, "memory": "2Gi"}))
    prove(site, 31, lambda: site.is_reported("FailedCreate", "StatefulSet"), "512Mi")


def claim(case: Case, name: str, storage_class: str) -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    make(case, "persistentvolumeclaims", name, spec=spec)


def test_a_claim_that_is_missing(node: str, site: Case) -> None:
    by_hand = f"by-hand-{secrets.token_hex(3)}"
    with volumes(site.serving.cluster, by_hand, {"0": {"hostPath": {"path": "/nowhere"}}}):
        claim(site, "models", by_hand)
        site.apply(service(site, node, "pvc://modles/chat"))
        prove(site, 32, site.is_turned_down, "pvc://models/chat")


def test_a_claim_of_a_class_that_is_missing(node: str, site: Case) -> None:
    missing = f"missing-{secrets.token_hex(3)}"
    claim(site, "models", missing)
    site.apply(service(site, node, "pvc://models/chat"))
    with contextlib.ExitStack() as stack:

        def cure(finding: Json) -> None:
            assert missing in finding["message"] and "a volume of its size" in finding["fix"]
            stack.enter_context(volumes(site.serving.cluster, missing, {"0": {"hostPath": {"path": "/nowhere"}}}))

        prove(site, 33, site.is_turned_down, cure)


@pytest.mark.campaign
def test_a_node_that_is_lost(site: Case) -> None:
    cluster, (lost, other) = site.serving.cluster, (f"gpus-{secrets.token_hex(3)}" for _ in range(2))
    make_node(cluster, lost, 2, kwok=False, group=lost)
    try:
        there = {"nodeSelector": {"group": lost}, "tolerations": [KWOK]}
        site.apply(service(site, lost, scheduling=there))
        rolled = Rolled(cluster, site.serving.namespace, site.name, lost)
        wait_until(lambda: any(pod["spec"].get("nodeName") for pod in rolled.pods()), "its pod has a node")
        play_kubelet(rolled)
        rolled.settled(1)
        make_node(cluster, other, 2, group=lost)
        wait_until(lambda: unready(cluster, lost), f"{lost} is marked", timeout=MARKED_WITHIN, every=0.2)
        prove(site, 39, lambda: unready(cluster, lost), lambda finding: None)
        assert [pod["spec"]["nodeName"] for pod in rolled.pods()] == [other]
        gone(site)
    finally:
        for name in (lost, other):
            cluster.request("DELETE", f"/api/v1/nodes/{name}")


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """With the image of the stand-in engine under names that it is refused by."""
    with serve_registry(STAND_IN) as made:
        yield made


def login(case: Case, registry: Registry) -> None:
    """A pull secret for the registry."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    config = {"auths": {registry.address: {"username": USER, "password": PASSWORD, "auth": auth}}}
    entries = {".dockerconfigjson": json.dumps(config)}
    make(case, "secrets", "registry", type="kubernetes.io/dockerconfigjson", stringData=entries)


IMAGES: dict[str, tuple[int, Callable[[Case, Registry], Any]]] = {
    "missing": (36, lambda _, registry: registry.pushed.add("missing")),
    "locked": (37, login),
    "foreign": (38, lambda _, registry: registry.pushed.add("foreign")),
}


@pytest.mark.campaign
@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_can_not_be_had(cluster: Cluster, registry: Registry, name: str) -> None:
    number, cure = IMAGES[name]
    settings = {
        "LLMSERVICE_RUNTIME_IMAGE": registry.image(name),
        "LLMSERVICE_IMAGE_PULL_POLICY": "Always",
        "LLMSERVICE_IMAGE_PULL_SECRETS": "registry",
    }
    with cluster.namespace("image") as namespace, operator(cluster.kubeconfig, [namespace], settings):
        case = Case(Serving(cluster, namespace), "chat")
        case.apply(
            a_service("chat")
            .from_source("hf://org/tiny", COMMIT)
            .with_spec(resources={"cpu": "20m", "memory": "256Mi"})
        )

        def is_refused() -> bool:
            return case.waits("ErrImagePull", "ImagePullBackOff")

        finding = prove(case, number, is_refused, lambda finding: cure(case, registry))
        assert registry.image(name) in finding["message"]
        gone(case)
