"""The operator may do what it does, and no more.

It runs as the chart's ServiceAccount through a proxy that writes down every request, and meets all that it can meet:
a model to inspect, pods that find no node, changed keys, a child deleted, events lost, a change, a scale to none, an
autoscaler that can't scale from none, a reader of its metrics, a restart. Nothing may be refused, and nothing may be
granted that was not used: a right on one named object counts by that name.
"""

import json
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import urllib3

from builders.models import a_model
from builders.services import COMMIT
from campaigns.snapshot import KINDS
from campaigns.world import NAME, World, world
from support import versions
from support.aggregation import NODE_ADDRESS, PORT
from support.cluster import APPLY, Cluster, wait_until
from support.helm import render
from support.old_autoscalers import autoscalers_of_old
from support.prometheus import FakePrometheus
from support.proxy import Fault, Request
from support.rights import Account, account, used
from support.web import host

pytestmark = pytest.mark.cluster_wide

CLAIMS_API = "resource.k8s.io/v1"
RESYNC = 3
"""Seconds between two sweeps."""
INSPECTED = {"architecture": "LlamaForCausalLM", "attentionHeads": 8, "keyValueHeads": 8, "layers": 4}
NOWHERE = {"scheduling": {"nodeSelector": {"llmservice.dev/test": "no-such-node"}}}
"""Pods stay pending: no kubelet has a say in what the test does with them."""
SCALING = {"minReplicas": 0, "maxReplicas": 3, "targets": {"timeToFirstToken": {"p99": "200ms"}}}


class Deaf(Fault):
    """The operator hears nothing of what ``unheard`` is true for: type of the event and kind of the object."""

    unheard: Callable[[str, str], bool] = staticmethod(lambda type, kind: False)

    def event(self, request: Request, event: dict[str, Any]) -> bool:
        """Drops what is not to be heard."""
        return not self.unheard(event["type"], event["object"].get("kind", ""))


def running(
    cluster: Cluster,
    namespace: str,
    who: Account,
    fault: Fault | None = None,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """An operator of this account, with its Lease."""
    lease = {"LLMSERVICE_LEADER_ELECTION": "true", "LLMSERVICE_LEASE_NAME": who.name, **(settings or {})}
    return world(cluster, namespace=namespace, token=who.token, fault=fault, resync=RESYNC, settings=lease)


def create(made: World, **spec: Any) -> None:
    """A service whose pods find no node."""
    body = {
        "apiVersion": "llmservice.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": NAME},
        "spec": {"model": {"source": "hf://org/model-1B", "revision": COMMIT}, **NOWHERE, **spec},
    }
    answer = made.request("POST", "LLMService", body=body)
    assert answer.ok, answer.message


def patch(made: World, spec: dict[str, Any]) -> None:
    """A user's change of the service."""
    answer = made.request("PATCH", "LLMService", NAME, {"spec": spec})
    assert answer.ok, answer.message


def pods(made: World, component: str) -> list[dict[str, Any]]:
    """The service's pods of a component."""
    found = made.request("GET", "Pod", labelSelector=f"app.kubernetes.io/component={component}").body["items"]
    return list(found)


def finish_inspection(made: World) -> None:
    """What a kubelet does when the inspection has read the model."""
    made.wait(lambda: pods(made, "model-inspection"), "a pod that inspects the model")
    (pod,) = pods(made, "model-inspection")
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": json.dumps(INSPECTED)}}
    container = pod["spec"]["containers"][0]
    status = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0}
    body = {"status": {"phase": "Succeeded", "containerStatuses": [{**status, "state": ended}]}}
    answer = made.request("PATCH", "Pod", f"{pod['metadata']['name']}/status", body)
    assert answer.ok, answer.message


def live_a_life(made: World, fault: Deaf, disk: str) -> None:
    """All that makes the operator read or write something."""
    create(made, parallelism={"tensor": 2}, scaling=SCALING, cache={"size": "1Mi", "storageClassName": disk, "keep": 0})
    finish_inspection(made)
    model = made.request("POST", "LLMModel", body={**a_model(), "metadata": {"name": NAME}})
    assert model.ok, model.message
    made.wait(lambda: made.condition("Scheduled") == "False", "the verdict that no node will do")
    made.wait(lambda: ("get", "persistentvolumes") in asked(made), "a look at where the volume of a stuck pod lies")
    made.wait(lambda: made.condition("ScalingActive") == "True", "the metrics API in use")
    patch(made, {"replicas": 0})
    made.wait(lambda: made.get("LLMService")["spec"]["replicas"] == 1, "the step from none, which is the operator's")

    ask_for_a_refresh(made)

    answer = made.request("DELETE", "Service", NAME)
    assert answer.ok, answer.message
    made.wait(lambda: made.get("Service"), "the deleted Service made again")

    fault.unheard = lambda type, kind: kind == "Pod"
    since = len(made.proxy.requests)
    patch(made, {"engine": {"maxNumSeqs": 17}})
    made.wait(
        lambda: ("delete", "pods") in asked(made, since),
        "a stuck pod of the older revision deleted",
    )
    fault.unheard = lambda type, kind: False
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy", "StatefulSet", "HorizontalPodAutoscaler"):
        leave_over(made, kind)
    patch(made, {"replicas": 0, "scaling": None})
    if versions.has(made.cluster, CLAIMS_API, "resourceclaimtemplates"):
        patch(made, {"accelerator": {"deviceClassName": "first.example.com"}})
        made.wait(lambda: claimed_classes(made) == {"first.example.com"}, "the template of claims")
        patch(made, {"accelerator": {"deviceClassName": "second.example.com"}})
        made.wait(lambda: claimed_classes(made) == {"second.example.com"}, "the template of the older revision gone")
    made.wait(lambda: len(config_maps(made)) == 2, "the ConfigMap of the older revision gone")
    made.wait(lambda: not made.get("PersistentVolumeClaim", f"cache-{NAME}-0"), "the claim that none will use gone")
    patch(made, {"replicas": 1, "scaling": SCALING})
    made.wait(lambda: made.get("HorizontalPodAutoscaler"), "the autoscaler made again")
    patch(made, {"parallelism": {"tensor": 4}, "model": {"source": "hf://org/other-1B"}})
    made.wait(lambda: pods(made, "model-inspection"), "the other model being inspected")
    hear_nothing_and_sweep(made, fault)
    finish_inspection(made)
    made.wait(lambda: not made.request("GET", "Job").body["items"], "the finished inspection gone")

    made.operator.stop()
    made.operator.start()
    patch(made, {"engine": {"maxNumSeqs": 18}})
    made.wait(lambda: _observed(made), "the change seen by an operator that was started again")

    assert made.request("DELETE", "LLMService", NAME).ok
    made.wait(lambda: not made.get("StatefulSet"), "all of the service gone")


def asked(made: World, since: int = 0) -> set[tuple[str, str]]:
    """What the operator has asked for, as verbs and resources."""
    return {(each.verb, each.resource) for each in made.proxy.requests[since:]}


def ask_for_a_refresh(made: World) -> None:
    """What `kubectl llm keys` does once it has changed the Secret; the operator tells the pods."""
    note = {"metadata": {"annotations": {"llmservice.dev/refresh": "now"}}}
    answer = made.request("PATCH", "LLMService", NAME, note)
    assert answer.ok, answer.message

    def reported() -> bool:
        found = [pod["metadata"].get("annotations", {}) for pod in pods(made, "engine")]
        return bool(found) and all(each.get("llmservice.dev/refresh") == "now" for each in found)

    made.wait(reported, "the annotation on the engine's pods")


def leave_over(made: World, kind: str) -> None:
    """A child that the operator of another version has left behind; it goes."""
    child = made.get(kind, f"{NAME}.service" if kind == "NetworkPolicy" else NAME)
    kept = {key: child["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    spec = {key: value for key, value in child["spec"].items() if not key.startswith("clusterIP")}
    body = {**child, "metadata": {**kept, "name": "left-over"}, "spec": spec}
    answer = made.request("POST", kind, body=body)
    assert answer.ok, answer.message
    made.wait(lambda: not made.get(kind, "left-over"), f"the {kind} that was left behind gone")


def hear_nothing_and_sweep(made: World, fault: Deaf) -> None:
    """Everything changes while the operator hears nothing; again and again, as its own writes tell it of some."""
    in_namespaces = [kind for kind in KINDS if kind.namespaced]
    plurals = {kind.plural: kind.kind for kind in in_namespaces if made.request("GET", kind.kind).ok}
    since = len(made.proxy.requests)
    fault.unheard = lambda type, kind: type == "MODIFIED"

    def read_by_the_sweep() -> bool:
        missing = set(plurals) - {each.resource for each in made.proxy.requests[since:] if each.verb == "get"}
        note = {"metadata": {"annotations": {"other.example/note": secrets.token_hex(4)}}}
        for kind in (plurals[each] for each in missing):
            for each in made.request("GET", kind).body["items"]:
                named = kind in ("LLMService", "LLMModel")
                if named or "app.kubernetes.io/managed-by" in each["metadata"].get("labels", {}):
                    made.request("PATCH", kind, each["metadata"]["name"], note)
        return not missing

    made.wait(read_by_the_sweep, "a sweep that reads what has changed")
    fault.unheard = lambda type, kind: False


def config_maps(made: World) -> list[str]:
    """Names of the service's ConfigMaps: its environment and its access policy."""
    return [name for name in made.snapshot() if name.startswith(f"ConfigMap {NAME}-")]


def claimed_classes(made: World) -> set[str]:
    """DeviceClasses in the service's ResourceClaimTemplates."""
    templates = made.request("GET", "ResourceClaimTemplate").body["items"]
    requests = (request for each in templates for request in each["spec"]["spec"]["devices"]["requests"])
    return {request["exactly"]["deviceClassName"] for request in requests}


@pytest.fixture
def disk(cluster: Cluster, namespace: str) -> Iterator[str]:
    """The name of a class with a volume for the first replica, on a node that is gone."""
    name = f"rights-{secrets.token_hex(4)}"
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["gone"]}
    volume = {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": name,
            "claimRef": {"namespace": namespace, "name": f"cache-{NAME}-0"},
            "local": {"path": "/nowhere"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
    made = cluster.request("POST", "/api/v1/persistentvolumes", volume)
    assert made.ok, made.message
    yield name
    cluster.request("DELETE", f"/api/v1/persistentvolumes/{name}")


def _observed(made: World) -> bool:
    service = made.get("LLMService")
    return bool(service["status"]["observedGeneration"] == service["metadata"]["generation"])


def refused(made: World) -> list[str]:
    """Requests that the API server's authorizer refused."""
    return [str(each) for each in made.proxy.requests if each.status in (401, 403)]


def read_a_metric(who: Account) -> None:
    """A user with a token but without permission asks the operator."""
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/llmservice_load_percent"
    url = f"https://{host(NODE_ADDRESS)}:{PORT}{path}"
    with urllib3.PoolManager(cert_reqs="CERT_NONE", assert_hostname=False) as http, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = http.request("GET", url, headers={"Authorization": f"Bearer {who.token}"}, retries=False)
    assert answer.status == 403, answer.data


def test_granted_is_what_is_used(cluster: Cluster, namespace: str, disk: str) -> None:
    fault = Deaf()
    with (
        account(cluster, namespace, {}) as who,
        autoscalers_of_old(cluster, namespace),
        FakePrometheus() as prometheus,
    ):
        settings = {
            "LLMSERVICE_SCALING_ADAPTER": "own",
            "LLMSERVICE_FIT": "Warn",
            "LLMSERVICE_SCALING_INTERVAL_SECONDS": "1",
            "LLMSERVICE_PROMETHEUS_URL": prometheus.url,
            "LLMSERVICE_METRICS_API_SERVICE": f"{who.name}-metrics-api",
            "LLMSERVICE_METRICS_API_PORT": str(PORT),
            "LLMSERVICE_POD_IP": NODE_ADDRESS,
        }
        with running(cluster, namespace, who, fault, settings) as made:
            live_a_life(made, fault, disk)
            read_a_metric(who)
            assert refused(made) == []
            needed = used(made.proxy.requests, who.granted)
            assert sorted(needed - who.granted) == [], "used without being granted, and yet not refused"
            of_whole_cluster = {each for each in who.granted if "clusterllmmodels" in each}  # it serves one namespace
            unused = who.granted - needed - of_whole_cluster
            if not versions.has(cluster, CLAIMS_API, "resourceclaimtemplates"):
                unused = {each for each in unused if "resource.k8s.io" not in each}
            assert sorted(unused) == [], "granted, never used: take it out of the chart's role"


def test_roles_of_one_namespace_are_enough(cluster: Cluster, namespace: str) -> None:
    """Nodes can't be read then: the scheduler's words have to do."""
    values = {"watchNamespaces": [namespace], "scaling": {"adapter": "none"}}
    with account(cluster, namespace, values) as who, running(cluster, namespace, who) as made:
        create(made)
        made.wait(lambda: made.condition("Scheduled") == "False", "the verdict that no node will do")
        made.wait_for_silence(2.0)
        beyond = {(each.verb, each.resource) for each in made.proxy.requests if each.status in (401, 403)}
        assert beyond <= {("list", "nodes"), ("list", "pods"), ("get", "endpointslices")}


def test_a_tenant_may_edit_but_not_touch_status(cluster: Cluster, namespace: str) -> None:
    """The aggregated roles: what `edit` of a namespace lets a person do with LLMServices."""
    name = f"rbac-{secrets.token_hex(4)}"
    roles = [
        each for each in render({"fullnameOverride": name}) if each["metadata"]["name"].endswith(("-edit", "-view"))
    ]
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    user = f"tenant-{name}"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "tenant"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }

    def may(verb: str, resource: str, where: str) -> bool:
        resource, _, subresource = resource.partition("/")
        what = {"namespace": where, "verb": verb, "group": "llmservice.dev", "resource": resource}
        review = {"spec": {"user": user, "resourceAttributes": {**what, "subresource": subresource}}}
        answer = cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer.body["status"]["allowed"])

    try:
        for role in roles:
            query = {"content_type": APPLY, "fieldManager": "test", "force": "true"}
            assert cluster.request("PATCH", f"{path}/{role['metadata']['name']}", role, **query).ok
        bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
        assert cluster.request("POST", bindings, binding).ok
        for verb, resource in (("create", "llmservices"), ("get", "llmservices"), ("update", "llmservices/scale")):
            wait_until(lambda v=verb, r=resource: may(v, r, namespace), f"edit aggregating {verb} of {resource}")
        assert not may("patch", "llmservices/status", namespace)
        assert not may("create", "llmservices", "default")
    finally:
        for role in roles:
            cluster.request("DELETE", f"{path}/{role['metadata']['name']}")
