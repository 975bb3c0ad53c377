"""What the chart's policies let tenants write, on a real API server: it alone knows who may read which Secret."""

import copy
from typing import Any

from builders.services import COMMIT, a_service
from cluster.test_chart_admission import in_force, warnings_of
from support.cluster import APPLY, MERGE, Cluster, wait_until

Json = dict[str, Any]
TENANT = "other-user"
OPERATOR = "llmservice-operator"
STRATEGIC = "application/strategic-merge-patch+json"
LABEL = {"app.kubernetes.io/managed-by": "llmservice-operator"}


def may(cluster: Cluster, namespace: str, name: str, *rules: Json) -> None:
    """Let the tenant do that in the namespace."""
    root = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    assert cluster.request("POST", f"{root}/roles", {"metadata": {"name": name}, "rules": list(rules)}).ok
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "User", "name": TENANT, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    assert cluster.request("POST", f"{root}/rolebindings", binding).ok


def rule(group: str, resource: str, *verbs: str, names: tuple[str, ...] = ()) -> Json:
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **named}


def test_who_names_a_secret_may_read_or_use_it(cluster: Cluster, namespace: str) -> None:
    may(cluster, namespace, "services", rule("llmservice.dev", "llmservices", "*"))
    may(
        cluster,
        namespace,
        "one",
        rule("", "secrets", "get", names=("read",)),
        rule("", "secrets", "use", names=("used", "also-used")),
    )
    store = {"address": "attacker.example:6379", "credentialsRef": {"name": "@"}}
    places: dict[str, Json] = {
        "hub": {"model": {"source": "https://attacker.example/org/name", "credentialsRef": {"name": "@"}}},
        "keys": {"access": {"apiKeys": {"secretRef": {"name": "@"}}}},
        "store": {"access": {"apiKeys": {"secretRef": {"name": "read"}}, "rateLimits": {"store": store}}},
        "ranks": {"parallelism": {"tensor": 2, "nodesPerReplica": 2, "secretRef": {"name": "@"}}},
        "first pull secret": {"pod": {"imagePullSecrets": ["@"]}},
        "last pull secret": {"pod": {"imagePullSecrets": ["read", "used", "also-used", "@"]}},
    }

    def put(value: Any, secret: str) -> Any:
        if isinstance(value, dict):
            return {key: put(each, secret) for key, each in value.items()}
        if isinstance(value, list):
            return list(dict.fromkeys(put(each, secret) for each in value))
        return secret if value == "@" else value

    def attempt(place: str, secret: str, **more: Any) -> Any:
        made = a_service("chat").from_source("hf://org/model-1B", COMMIT).build()
        made["metadata"].pop("namespace", None)
        made["spec"] = {**made["spec"], **put(copy.deepcopy(places[place]), secret), **more}
        path = cluster.services(namespace)
        return cluster.request("POST", path, made, user=TENANT, dryRun="All")

    with in_force(cluster, namespace) as user:
        wait_until(lambda: not attempt("keys", "other").ok, "the policies are in force")
        for place in places:
            answer = attempt(place, "other")
            assert not answer.ok
            assert "names a Secret that its author may" in answer.message
            for secret in ("read", "used"):
                answer = attempt(place, secret)
                assert answer.ok, answer.message

        # A Secret that another user named stays, and no other user can change where it is sent.
        made = a_service("chat").from_source("hf://org/model-1B", COMMIT).build()
        made["metadata"].pop("namespace", None)
        made["spec"]["access"] = put(places["store"]["access"], "other")
        assert cluster.create(namespace, made).ok
        path = cluster.services(namespace, "chat")

        def change(spec: Json) -> Any:
            return cluster.request("PATCH", path, {"spec": spec}, content_type=MERGE, user=TENANT)

        answer = change({"replicas": 0})
        assert answer.ok, answer.message
        assert not change({"access": {"rateLimits": {"store": {"address": "elsewhere.example:1"}}}}).ok
        assert change({"access": {"rateLimits": None}}).ok
        assert warnings_of(cluster, user) == []


def test_nobody_else_puts_the_operators_label_on_an_object(cluster: Cluster, namespace: str) -> None:
    may(cluster, namespace, "edit", rule("", "configmaps", "*"), rule("llmservice.dev", "llmservices", "*"))
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    labelled = {"metadata": {"name": "a", "labels": LABEL}}

    def refused(**more: str) -> bool:
        answer = cluster.request("POST", path, labelled, user=TENANT, dryRun="All", **more)
        return not answer.ok and "managed-by=llmservice-operator" in answer.message

    def refused_without_a_service() -> bool:
        answer = cluster.request("POST", path, labelled, dryRun="All")
        return not answer.ok and "no params found" in answer.message

    with in_force(cluster, namespace):
        wait_until(refused_without_a_service, "objects of no service are refused")
        made = a_service("chat").from_source("hf://org/model-1B", COMMIT).build()
        made["metadata"].pop("namespace", None)
        assert cluster.create(namespace, made).ok
        wait_until(refused, "the policies are in force")
        assert cluster.request("POST", path, {"metadata": {"name": "a"}}, user=TENANT).ok
        patch = {"metadata": {"labels": LABEL}}
        assert not cluster.request("PATCH", f"{path}/a", patch, content_type=MERGE, user=TENANT).ok
        assert cluster.request("PATCH", f"{path}/a", patch, content_type=MERGE).ok, "administrators restore objects"
        change = {"data": {"a": "b"}}
        assert cluster.request("PATCH", f"{path}/a", change, content_type=MERGE, user=TENANT).ok, (
            "an object that has it"
        )
        controller = "system:serviceaccount:kube-system:statefulset-controller"
        may_write = {
            "metadata": {"name": "controller"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "edit"},
            "subjects": [{"kind": "User", "name": controller, "apiGroup": "rbac.authorization.k8s.io"}],
        }
        root = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
        assert cluster.request("POST", root, may_write).ok
        made = {"metadata": {"name": "b", "labels": LABEL}}
        wait_until(lambda: cluster.request("POST", path, made, user=controller, dryRun="All").ok, "controllers may")


def test_keda_copies_the_label_to_the_autoscalers_that_it_makes(cluster: Cluster, namespace: str) -> None:
    may(cluster, namespace, "keda", rule("autoscaling", "horizontalpodautoscalers", "*"), rule("", "configmaps", "*"))
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    target = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "name": "chat"}
    made = {
        "metadata": {"name": "keda-hpa-chat", "labels": LABEL},
        "spec": {"scaleTargetRef": target, "maxReplicas": 2},
    }

    def attempt() -> Any:
        return cluster.request("POST", path, made, user=TENANT, dryRun="All")

    with in_force(cluster, namespace):
        service = a_service("chat").from_source("hf://org/model-1B", COMMIT).build()
        service["metadata"].pop("namespace", None)
        assert cluster.create(namespace, service).ok
        wait_until(lambda: "managed-by=llmservice-operator" in attempt().message, "the policies are in force")
        may(cluster, namespace, "status", rule("keda.sh", "scaledobjects/status", "*"))
        wait_until(lambda: attempt().ok, "who writes the status of ScaledObjects may copy the label")
        labelled = {"metadata": {"name": "a", "labels": LABEL}}
        answer = cluster.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", labelled, user=TENANT)
        assert not answer.ok, "to autoscalers alone"


def test_nobody_else_writes_in_the_name_of_the_operators_field_manager(cluster: Cluster, namespace: str) -> None:
    """What that manager owns counts as changed by a policy, and is not set back."""
    verbs = ("get", "create", "update", "patch")
    may(cluster, namespace, "edit", rule("apps", "statefulsets", *verbs), rule("", "services", *verbs))
    template = {
        "metadata": {"labels": {"app": "chat"}},
        "spec": {"containers": [{"name": "engine", "image": "a", "env": [{"name": "A", "value": "1"}]}]},
    }
    made = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "chat", "labels": LABEL},
        "spec": {
            "replicas": 0,
            "serviceName": "chat",
            "selector": {"matchLabels": {"app": "chat"}},
            "template": template,
        },
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/chat"
    grace = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
    images = {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": "b"}]}}}}

    other = copy.deepcopy(made)
    other["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 7

    def patch(body: Json, content: str = MERGE, **more: Any) -> Any:
        return cluster.request("PATCH", path, body, content_type=content, user=TENANT, **more)

    def owned(manager: str = OPERATOR) -> list[Json]:
        entries: list[Json] = cluster.request("GET", path).body["metadata"]["managedFields"]
        return [each for each in entries if each["manager"] == manager]

    assert cluster.request("PATCH", path, made, content_type=APPLY, fieldManager=OPERATOR).ok
    with in_force(cluster, namespace):
        wait_until(lambda: not patch(grace, fieldManager=OPERATOR, dryRun="All").ok, "the policies are in force")
        refused = [
            patch(grace, fieldManager=OPERATOR),
            patch(other, APPLY, fieldManager=OPERATOR, force="true"),
            patch(grace, STRATEGIC, fieldManager=OPERATOR),
        ]
        live = cluster.request("GET", path).body
        live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 7
        refused.append(cluster.request("PUT", path, live, user=TENANT, fieldManager=OPERATOR))
        for answer in refused:
            assert answer.status == 403 and "field manager llmservice-operator" in answer.message, answer.message
        # As itself it may, for the operator notices that and sets it back.
        assert patch(grace, fieldManager="kubectl-edit").ok
        assert patch(images, STRATEGIC, fieldManager="kubectl-edit").ok
        assert patch({"metadata": {"annotations": {"example.com/a": "b"}}}).ok
        # A change of the owners alone.
        (entry,) = owned()
        (of_tenant,) = owned("kubectl-edit")
        forged = {"metadata": {"managedFields": [{**entry, "fieldsV1": of_tenant["fieldsV1"]}]}}
        assert patch(forged).status == 403
        renamed = [entry, {**of_tenant, "manager": OPERATOR}]
        assert patch({"metadata": {"managedFields": renamed}}).status == 403
        deep = copy.deepcopy(entry)
        containers = deep["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
        containers['k:{"name":"engine"}']["f:env"]['k:{"name":"A"}']["f:forged"] = {}
        assert patch({"metadata": {"managedFields": [deep]}}).status == 403
        # The operator and administrators may do all of it, and the tenant may give up what the operator owns.
        assert patch({"metadata": {"managedFields": [{}]}}).ok
        assert cluster.request("PATCH", path, made, content_type=APPLY, fieldManager=OPERATOR, force="true").ok
