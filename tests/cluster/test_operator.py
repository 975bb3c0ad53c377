"""The real operator on a real API server: children are created and restored, and objects of other owners stay."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import a_service
from llmservice_operator.resources import kinds
from support.cluster import APPLY, MERGE, Cluster, wait_until
from support.operator import OperatorProcess, operator

KINDS = (kinds.STATEFULSET, kinds.SERVICE, kinds.CONFIGMAP, kinds.BUDGET, kinds.NETWORK_POLICY)
NOWHERE = {"nodeSelector": {"llmservice.dev/no-such-node": "true"}}
"""Scheduling under which no pod ever gets a node, so that only the operator changes anything."""


class Place:
    """A namespace with an operator over it."""

    def __init__(self, cluster: Cluster, namespace: str, process: OperatorProcess) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.operator = process

    def path(self, kind: str, name: str = "") -> str:
        if kind == "LLMService":
            return self.cluster.services(self.namespace, name)
        return kinds.named(kind).path(self.namespace, name)

    def create(self, name: str, **spec: Any) -> None:
        service = a_service(name).with_spec(scheduling=NOWHERE, **spec).build()
        service["metadata"].pop("namespace", None)
        made = self.cluster.create(self.namespace, service)
        assert made.ok, made.message

    def get(self, kind: str, name: str) -> dict[str, Any]:
        answer = self.cluster.request("GET", self.path(kind, name))
        return answer.body if answer.ok else {}

    def children(self, name: str) -> dict[str, str]:
        """Names of the service's children by kind; several of a kind as one text."""
        found = {}
        for kind in KINDS:
            selector = f"app.kubernetes.io/instance={name}"
            items = self.cluster.request("GET", kind.path(self.namespace), labelSelector=selector).body["items"]
            if items:
                found[kind.kind] = " ".join(sorted(item["metadata"]["name"] for item in items))
        return found

    def environment(self, name: str) -> str:
        """Name of the newest ConfigMap with the service's environment."""
        containers = self.get("StatefulSet", name)["spec"]["template"]["spec"]["containers"]
        return str(containers[0]["envFrom"][0]["configMapRef"]["name"])

    def until_complete(self, name: str) -> dict[str, str]:
        """Wait until all children are there and the status is on this generation."""

        def complete() -> dict[str, str] | None:
            found = self.children(name)
            service = self.get("LLMService", name)
            current = service.get("status", {}).get("observedGeneration") == service["metadata"]["generation"]
            return found if len(found) == len(KINDS) and current else None

        return self.wait(complete, f"{name} has all its children")

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        conditions = self.get("LLMService", name).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def replicas(self, name: str) -> int | None:
        return self.get("LLMService", name)["spec"].get("replicas")

    def wait(self, condition: Any, what: str, timeout: float = 30) -> Any:
        try:
            return wait_until(condition, what, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.operator.log()[-3000:]}") from None


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[Place]:
    """One operator for the whole file; each test has services of its own names."""
    with cluster.namespace("operator") as namespace, operator(cluster.kubeconfig, [namespace]) as process:
        yield Place(cluster, namespace, process)


def test_five_lines_become_a_service_with_all_its_children(place: Place) -> None:
    place.create("five")
    children = place.until_complete("five")
    assert children["StatefulSet"] == "five"
    assert children["Service"] == "five five-headless"
    assert children["PodDisruptionBudget"] == "five"
    assert children["NetworkPolicy"] == "five.service"
    service = place.get("LLMService", "five")
    for kind, names in children.items():
        for name in names.split():
            owner = place.get(kind, name)["metadata"]["ownerReferences"][0]
            assert (owner["uid"], owner["controller"]) == (service["metadata"]["uid"], True)
    assert place.condition("five", "Accepted")["status"] == "True"
    assert place.condition("five", "Ready")["status"] == "False"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("StatefulSet", "deleted"),
        ("Service", "deleted"),
        ("Service", "deleted-headless"),
        ("PodDisruptionBudget", "deleted"),
        ("NetworkPolicy", "deleted.service"),
        ("ConfigMap", "deleted-access"),
        ("ConfigMap", ""),
    ],
)
def test_a_child_deleted_by_hand_comes_back(place: Place, kind: str, name: str) -> None:
    if not place.get("LLMService", "deleted"):
        place.create("deleted")
    place.until_complete("deleted")
    name = name or place.environment("deleted")
    before = place.get(kind, name)["metadata"]["uid"]
    assert place.cluster.request("DELETE", place.path(kind, name)).ok
    place.wait(lambda: place.get(kind, name).get("metadata", {}).get("uid", before) != before, f"{kind} comes back")


CHANGES = {
    "pod template": ("StatefulSet", "changed", {"spec": {"template": {"metadata": {"labels": {"mine": None}}}}}),
    "image": ("StatefulSet", "changed", None),
    "service port": ("Service", "changed", {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": "http"}]}}),
    "service selector": ("Service", "changed", {"spec": {"selector": {"app": "mine"}}}),
    "budget": ("PodDisruptionBudget", "changed", {"spec": {"maxUnavailable": 3}}),
    "network policy": ("NetworkPolicy", "changed.service", {"spec": {"ingress": [{}]}}),
    "managed-by label": ("Service", "changed", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}),
    "all labels": ("StatefulSet", "changed", {"metadata": {"labels": None}}),
    "instance label": ("Service", "changed", {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}}),
    "owner": ("PodDisruptionBudget", "changed", {"metadata": {"ownerReferences": None}}),
    "access policy": ("ConfigMap", "changed-access", {"data": {"access.json": '{"requireKeys":true}', "mine": ""}}),
    "mark of what was applied": ("Service", "changed", {"metadata": {"annotations": None}}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_child_changed_by_hand_comes_back(place: Place, change: str) -> None:
    kind, name, patch = CHANGES[change]
    if not place.get("LLMService", "changed"):
        place.create("changed")
    place.until_complete("changed")
    before = essence(place.get(kind, name))
    if patch is None:
        container = {**place.get(kind, name)["spec"]["template"]["spec"]["containers"][0], "image": "mine"}
        patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    if change == "pod template":
        patch = {"spec": {"template": {"spec": {"nodeSelector": None}}}}
    changed = place.cluster.request("PATCH", place.path(kind, name), patch, content_type=MERGE)
    assert changed.ok, changed.message
    assert essence(changed.body) != before
    place.wait(lambda: essence(place.get(kind, name)) == before, f"the {change} of {kind} comes back")


def essence(obj: dict[str, Any]) -> dict[str, Any]:
    """What the operator answers for."""
    kept = copy.deepcopy({key: obj[key] for key in ("metadata", "spec") if key in obj})
    kept["policy"] = obj.get("data", {}).get("access.json")
    for field in ("managedFields", "resourceVersion", "generation"):
        kept["metadata"].pop(field, None)
    if obj["kind"] == "StatefulSet":  # its pods change step by step, and these never get ready
        kept["spec"].pop("updateStrategy")
        for name in ("rollout", "applied"):
            (kept["metadata"].get("annotations") or {}).pop(f"llmservice.dev/{name}", None)
    return kept


def test_an_object_of_somebody_else_stays_and_the_status_names_it(place: Place) -> None:
    theirs = {"metadata": {"name": "taken"}, "spec": {"ports": [{"port": 9}], "selector": {"app": "theirs"}}}
    made = place.cluster.request("POST", place.path("Service"), theirs)
    assert made.ok, made.message
    place.create("taken")
    place.wait(lambda: place.condition("taken", "Accepted").get("reason") == "NameTaken", "the status says so")
    assert "taken" in place.condition("taken", "Accepted")["message"]
    assert place.get("Service", "taken") == made.body
    assert place.cluster.request("DELETE", place.path("Service", "taken")).ok
    place.wait(lambda: len(place.children("taken")) == len(KINDS), "the name is free and used", timeout=60)


def test_a_spec_that_changes_reaches_the_children(place: Place) -> None:
    place.create("edited", replicas=1)
    place.until_complete("edited")
    first = place.environment("edited")
    patch = {"spec": {"model": {"maxContextLength": 4096}}}
    assert place.cluster.request("PATCH", place.path("LLMService", "edited"), patch, content_type=MERGE).ok
    place.wait(lambda: place.environment("edited") != first, "another environment")
    place.until_complete("edited")


def test_a_quota_that_refuses_is_told_and_when_it_is_lifted_work_goes_on(place: Place) -> None:
    quota = f"/api/v1/namespaces/{place.namespace}/resourcequotas"
    hard = {"metadata": {"name": "none"}, "spec": {"hard": {"count/statefulsets.apps": "0"}}}
    assert place.cluster.request("POST", quota, hard).ok
    place.wait(
        lambda: place.cluster.request("GET", f"{quota}/none").body.get("status", {}).get("hard"),
        "the quota is in force",
    )
    place.create("refused")
    place.wait(lambda: place.condition("refused", "Reconciling").get("reason") == "ApplyFailed", "the status says so")
    assert "exceeded quota: none" in place.condition("refused", "Reconciling")["message"]
    assert place.condition("refused", "Ready")["reason"] == "ApplyFailed"
    assert place.cluster.request("DELETE", f"{quota}/none").ok
    place.wait(lambda: "StatefulSet" in place.children("refused"), "work goes on", timeout=60)
    place.wait(
        lambda: place.condition("refused", "Reconciling").get("reason") != "ApplyFailed", "the refusal is forgotten"
    )


def test_absent_replicas_begin_with_one_and_any_way_to_set_them_counts(place: Place) -> None:
    """Absent, set by server-side apply, scaled, and taken out of the manifest at 5: what runs stays."""
    manifest = a_service("scaled").with_spec(scheduling=NOWHERE).build()
    manifest["metadata"].pop("namespace", None)

    def user_applies(**spec: Any) -> None:
        body = {**manifest, "spec": {**manifest["spec"], **spec}}
        query = {"fieldManager": "kubectl", "force": "false"}
        answer = place.cluster.request("PATCH", place.path("LLMService", "scaled"), body, content_type=APPLY, **query)
        assert answer.ok, f"a user's apply is refused: {answer.message}"

    def pods_wanted() -> int:
        return int(place.get("StatefulSet", "scaled").get("spec", {}).get("replicas", -1))

    user_applies()
    place.wait(lambda: pods_wanted() == 1 and place.replicas("scaled") == 1, "a new service starts with 1")
    place.until_complete("scaled")
    user_applies(replicas=3)
    place.wait(lambda: pods_wanted() == 3, "a number in the manifest counts")
    user_applies()
    place.wait(lambda: place.replicas("scaled") == 3, "taken out of the manifest: what runs stays")
    assert pods_wanted() == 3
    scaled = place.cluster.request(
        "PATCH",
        place.path("LLMService", "scaled") + "/scale",
        {"spec": {"replicas": 5}},
        content_type=MERGE,
        fieldManager="kubectl-scale",
    )
    assert scaled.ok, scaled.message
    place.wait(lambda: pods_wanted() == 5, "kubectl scale counts")
    user_applies(model={**manifest["spec"]["model"], "maxContextLength": 2048})
    place.until_complete("scaled")
    assert place.replicas("scaled") == 5, "an apply without replicas leaves what was scaled"


def test_replicas_taken_out_by_a_merge_patch_are_what_ran(place: Place) -> None:
    place.create("dropped", replicas=5)
    place.wait(lambda: place.get("StatefulSet", "dropped").get("spec", {}).get("replicas") == 5, "5 are wanted")
    taken_out = place.cluster.request(
        "PATCH", place.path("LLMService", "dropped"), {"spec": {"replicas": None}}, content_type=MERGE
    )
    assert taken_out.ok
    place.wait(lambda: place.replicas("dropped") == 5, "the operator writes the running count")
    assert place.get("StatefulSet", "dropped")["spec"]["replicas"] == 5

    def owners() -> set[str]:
        return {each["manager"] for each in place.get("LLMService", "dropped")["metadata"]["managedFields"]}

    place.wait(lambda: "llmservice-operator-replicas" not in owners(), "and owns the field no longer")


def test_a_deleted_service_takes_everything_with_it_and_a_new_one_of_the_same_name_starts_anew(place: Place) -> None:
    place.create("again")
    place.until_complete("again")
    old = place.get("LLMService", "again")["metadata"]["uid"]
    assert place.cluster.request("DELETE", place.path("LLMService", "again")).ok
    place.create("again")

    def all_belong_to_the_new_one() -> bool:
        new = place.get("LLMService", "again")["metadata"]["uid"]
        children = [(kind, name) for kind, names in place.children("again").items() for name in names.split()]
        found = [place.get(kind, name).get("metadata", {}) for kind, name in children]
        owners = [owner["uid"] for meta in found for owner in meta.get("ownerReferences", [])]
        return len(owners) >= 5 and set(owners) == {new} and new != old

    place.wait(all_belong_to_the_new_one, "the new service has all children of its own", timeout=60)
    assert place.cluster.request("DELETE", place.path("LLMService", "again")).ok
    place.wait(lambda: not place.children("again"), "nothing is left", timeout=60)


def test_deletion_needs_no_operator(cluster: Cluster, namespace: str) -> None:
    with operator(cluster.kubeconfig, [namespace]) as process:
        place = Place(cluster, namespace, process)
        place.create("orphan")
        place.until_complete("orphan")
        assert process.stop() == 0
        assert cluster.request("DELETE", place.path("LLMService", "orphan")).ok
        place.wait(lambda: not place.children("orphan"), "nothing is left", timeout=60)
        assert not place.get("LLMService", "orphan")
