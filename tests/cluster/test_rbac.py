"""The operator may do what it does, and no more.

It runs as the chart's ServiceAccount through a proxy that writes down every request, and meets all that it can meet:
a model to inspect, pods that find no node, a child deleted, events lost, a change, a scale to none, a restart. Nothing
may be refused, and nothing may be granted that was not used.
"""

import contextlib
import dataclasses
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from campaigns.snapshot import PATHS
from campaigns.world import NAME, World, world
from support.cluster import APPLY, Cluster, wait_until
from support.helm import of_kind, render
from support.proxy import Fault, Request

Permission = tuple[str, str, str]

RESYNC = 3
"""Seconds between two sweeps."""
INSPECTED = {"architecture": "LlamaForCausalLM", "attentionHeads": 8, "keyValueHeads": 8, "layers": 4}
NOWHERE = {"scheduling": {"nodeSelector": {"llmservice.dev/test": "no-such-node"}}}
"""Pods stay pending: no kubelet has a say in what the test does with them."""


class Deaf(Fault):
    """The operator hears nothing of what ``unheard`` is true for: type of the event and kind of the object."""

    unheard: Callable[[str, str], bool] = staticmethod(lambda type, kind: False)

    def event(self, request: Request, event: dict[str, Any]) -> bool:
        """Drops what is not to be heard."""
        return not self.unheard(event["type"], event["object"].get("kind", ""))


@dataclasses.dataclass(frozen=True)
class Account:
    """A ServiceAccount with the rights of the rendered chart."""

    name: str
    token: str
    granted: frozenset[Permission]


def permissions(roles: list[dict[str, Any]]) -> frozenset[Permission]:
    """All that the roles grant."""
    rules = [rule for role in roles for rule in role["rules"]]
    return frozenset(
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    )


@contextlib.contextmanager
def account(cluster: Cluster, namespace: str, values: dict[str, Any]) -> Iterator[Account]:
    """The chart's ServiceAccount and roles in the cluster, under a name of their own; gone afterwards."""
    name = f"rbac-{secrets.token_hex(4)}"
    objects = render({"fullnameOverride": name, "rbac": {"tenantRoles": False}, **values}, namespace=namespace)
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    inside = f"/namespaces/{namespace}"
    paths = {
        "ServiceAccount": f"/api/v1{inside}/serviceaccounts",
        "ClusterRole": f"{rbac}/clusterroles",
        "ClusterRoleBinding": f"{rbac}/clusterrolebindings",
        "Role": f"{rbac}{inside}/roles",
        "RoleBinding": f"{rbac}{inside}/rolebindings",
    }
    made = [(f"{paths[each['kind']]}/{each['metadata']['name']}", each) for each in objects if each["kind"] in paths]
    try:
        for path, each in made:
            answer = cluster.request("PATCH", path, each, content_type=APPLY, fieldManager="test", force="true")
            assert answer.ok, answer.message
        token = cluster.request("POST", f"{paths['ServiceAccount']}/{name}/token", {"spec": {}})
        assert token.ok, token.message
        roles = of_kind(objects, "Role") + of_kind(objects, "ClusterRole")
        yield Account(name, token.body["status"]["token"], permissions(roles))
    finally:
        for path, each in made:
            if each["kind"].startswith("Cluster"):
                cluster.request("DELETE", path)


def running(cluster: Cluster, namespace: str, who: Account, fault: Fault | None = None) -> Any:
    """An operator of this account, with its Lease."""
    lease = {"LLMSERVICE_LEADER_ELECTION": "true", "LLMSERVICE_LEASE_NAME": who.name}
    return world(cluster, namespace=namespace, token=who.token, fault=fault, resync=RESYNC, settings=lease)


def create(made: World, **spec: Any) -> None:
    """A service whose pods find no node."""
    body = {
        "apiVersion": "llmservice.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": NAME},
        "spec": {"model": {"source": "hf://org/model-1B"}, **NOWHERE, **spec},
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


def live_a_life(made: World, fault: Deaf) -> None:
    """All that makes the operator read or write something."""
    create(made, parallelism={"tensor": 2})
    finish_inspection(made)
    made.wait(lambda: made.condition("Scheduled") == "False", "the verdict that no node will do")

    answer = made.request("DELETE", "Service", NAME)
    assert answer.ok, answer.message
    made.wait(lambda: made.get("Service"), "the deleted Service made again")

    fault.unheard = lambda type, kind: kind == "Pod"
    since = len(made.proxy.requests)
    patch(made, {"engine": {"maxNumSeqs": 17}})
    made.wait(
        lambda: ("delete", "pods") in {(each.verb, each.resource) for each in made.proxy.requests[since:]},
        "a stuck pod of the older revision deleted",
    )
    fault.unheard = lambda type, kind: False
    for kind in ("Service", "PodDisruptionBudget", "StatefulSet"):
        leave_over(made, kind)
    patch(made, {"replicas": 0})
    made.wait(lambda: len(config_maps(made)) == 1, "the ConfigMap of the older revision gone")
    patch(made, {"replicas": 1, "parallelism": {"tensor": 4}, "model": {"source": "hf://org/other-1B"}})
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


def leave_over(made: World, kind: str) -> None:
    """A child that the operator of another version has left behind; it goes."""
    child = made.get(kind)
    kept = {key: child["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    spec = {key: value for key, value in child["spec"].items() if not key.startswith("clusterIP")}
    body = {**child, "metadata": {**kept, "name": "left-over"}, "spec": spec}
    answer = made.request("POST", kind, body=body)
    assert answer.ok, answer.message
    made.wait(lambda: not made.get(kind, "left-over"), f"the {kind} that was left behind gone")


def hear_nothing_and_sweep(made: World, fault: Deaf) -> None:
    """Everything changes while the operator hears nothing; again and again, as its own writes tell it of some."""
    plurals = {path.rpartition("/")[2]: kind for kind, path in PATHS.items()}
    since = len(made.proxy.requests)
    fault.unheard = lambda type, kind: type == "MODIFIED"

    def read_by_the_sweep() -> bool:
        missing = set(plurals) - {each.resource for each in made.proxy.requests[since:] if each.verb == "get"}
        note = {"metadata": {"annotations": {"somebody.example/note": secrets.token_hex(4)}}}
        for kind in (plurals[each] for each in missing):
            for each in made.request("GET", kind).body["items"]:
                if kind == "LLMService" or "app.kubernetes.io/managed-by" in each["metadata"].get("labels", {}):
                    made.request("PATCH", kind, each["metadata"]["name"], note)
        return not missing

    made.wait(read_by_the_sweep, "a sweep that reads what has changed")
    fault.unheard = lambda type, kind: False


def config_maps(made: World) -> list[str]:
    """Names of the service's ConfigMaps."""
    return [name for name in made.snapshot() if name.startswith(f"ConfigMap {NAME}-")]


def _observed(made: World) -> bool:
    service = made.get("LLMService")
    return bool(service["status"]["observedGeneration"] == service["metadata"]["generation"])


def refused(made: World) -> list[str]:
    """Requests that the API server's authorizer refused."""
    return [str(each) for each in made.proxy.requests if each.status in (401, 403)]


def test_granted_is_what_is_used(cluster: Cluster, namespace: str) -> None:
    fault = Deaf()
    with account(cluster, namespace, {}) as who, running(cluster, namespace, who, fault) as made:
        live_a_life(made, fault)
        assert refused(made) == []
        used = made.proxy.permissions()
        assert sorted(used - who.granted) == [], "used without being granted, and yet not refused"
        assert sorted(who.granted - used) == [], "granted, never used: take it out of the chart's role"


def test_roles_of_one_namespace_are_enough(cluster: Cluster, namespace: str) -> None:
    """Nodes can't be read then: the scheduler's words have to do."""
    values = {"watchNamespaces": [namespace]}
    with account(cluster, namespace, values) as who, running(cluster, namespace, who) as made:
        create(made)
        made.wait(lambda: made.condition("Scheduled") == "False", "the verdict that no node will do")
        made.wait_for_silence(2.0)
        beyond = {(each.verb, each.resource) for each in made.proxy.requests if each.status in (401, 403)}
        assert beyond <= {("list", "nodes"), ("list", "pods")}


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
