"""Namespaces with rules on CPU limits, and labels of pods: with the real API server and its controllers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from builders.services import a_service
from support.cluster import MERGE, Cluster, wait_until
from support.operator import operator

Json = dict[str, Any]
NOWHERE = {"nodeSelector": {"llmservice.dev/no-such-node": "true"}}
"""No pod gets a node; what counts here is whether it may exist."""
QUOTA: Json = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "team"},
    "spec": {"hard": {"limits.cpu": "64", "limits.memory": "4Ti", "limits.ephemeral-storage": "100Ti"}},
}


def limit_range(**of_containers: Json) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "usual"},
        "spec": {"limits": [{"type": "Container", **of_containers}]},
    }


class Team:
    """A namespace of a team, with a service in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def rule(self, made: Json) -> None:
        plural = {"ResourceQuota": "resourcequotas", "LimitRange": "limitranges"}[made["kind"]]
        answer = self.cluster.request("POST", f"/api/v1/namespaces/{self.namespace}/{plural}", made)
        assert answer.ok, answer.message

    def serve(self, **spec: Any) -> None:
        service = a_service("chat").with_replicas(1).with_spec(scheduling=NOWHERE, **spec).build()
        service["metadata"].pop("namespace", None)
        answer = self.cluster.create(self.namespace, service)
        assert answer.ok, answer.message

    def change(self, **spec: Any) -> None:
        path = self.cluster.services(self.namespace, "chat")
        answer = self.cluster.request("PATCH", path, {"spec": spec}, content_type=MERGE)
        assert answer.ok, answer.message

    def finding(self, reason: str) -> Json | None:
        found = self.cluster.request("GET", self.cluster.services(self.namespace, "chat")).body
        findings = found.get("status", {}).get("findings", [])
        return next((each for each in findings if each["reason"] == reason), None)

    def pods(self, component: str = "engine") -> list[Json]:
        selector = f"app.kubernetes.io/instance=chat,app.kubernetes.io/component={component}"
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        found: list[Json] = self.cluster.request("GET", path, labelSelector=selector).body["items"]
        return found

    def cpu(self, component: str = "engine") -> str | None:
        """The CPU limit of the pod, once there is one."""
        found = [each["spec"]["containers"][0]["resources"] for each in self.pods(component)]
        return str(found[0].get("limits", {}).get("cpu")) if found else None

    def statefulset(self) -> Json:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/statefulsets/chat"
        found: Json = self.cluster.request("GET", path).body
        return found


RULES: dict[str, tuple[Json, str, str]] = {
    "a quota on limits": (QUOTA, "QuotaExceeded", "limits.cpu"),
    "a default below the request": (
        limit_range(default={"cpu": "500m"}, defaultRequest={"cpu": "100m"}),
        "LimitExceeded",
        "cpu limit of 500m",
    ),
    "a ratio of limit and request": (limit_range(maxLimitRequestRatio={"cpu": "2"}), "LimitExceeded", "ratio"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_on_cpu_limits_is_reported_and_the_field_that_is_named_meets_it(
    cluster: Cluster, namespace: str, name: str
) -> None:
    team, (rule, reason, words) = Team(cluster, namespace), RULES[name]
    team.rule(rule)
    with operator(cluster.kubeconfig, [namespace]):
        team.serve()
        finding = wait_until(lambda: team.finding(reason), f"{reason} is reported", timeout=60)
        assert finding["field"] == "spec.resources.cpuLimit"
        assert words in finding["message"] and "spec.resources.cpuLimit" in finding["fix"]
        assert team.pods() == []
        team.change(resources={"cpuLimit": "2"})
        assert wait_until(team.cpu, "its pod exists", timeout=60) == "2"
        wait_until(lambda: team.finding(reason) is None, "the finding is gone", timeout=60)


def test_the_platforms_cpu_limit_is_that_of_engines_and_of_inspections(cluster: Cluster, namespace: str) -> None:
    team = Team(cluster, namespace)
    team.rule(QUOTA)
    with operator(cluster.kubeconfig, [namespace], {"LLMSERVICE_CPU_LIMIT": "Request"}):
        team.serve(parallelism={"tensor": 2})
        assert wait_until(lambda: team.cpu("model-inspection"), "the inspection's pod exists", timeout=60) == "1"
        team.change(parallelism={"tensor": 1})
        assert wait_until(team.cpu, "its pod exists", timeout=60) == "1"


def test_an_inspection_that_a_limit_range_forbids_is_reported_with_the_platforms_value(
    cluster: Cluster, namespace: str
) -> None:
    team = Team(cluster, namespace)
    team.rule(limit_range(min={"cpu": "200m"}))
    with operator(cluster.kubeconfig, [namespace]):
        team.serve(parallelism={"tensor": 2})
        finding = wait_until(lambda: team.finding("LimitExceeded"), "it is reported", timeout=60)
        assert "defaults.inspectionResources" in finding["fix"] and "field" not in finding
    settings = {"LLMSERVICE_INSPECTION_RESOURCES": '{"requests": {"cpu": "200m"}}'}
    with operator(cluster.kubeconfig, [namespace], settings):
        wait_until(lambda: team.pods("model-inspection"), "the inspection's pod exists", timeout=60)


def labels(found: Json) -> Json:
    return dict(found["spec"]["template"]["metadata"]["labels"])


def has(team: Team, **wanted: str) -> Callable[[], bool]:
    return lambda: wanted.items() <= labels(team.statefulset()).items() if team.statefulset().get("spec") else False


def test_labels_come_and_go_with_a_rollout_and_no_selector_has_them(cluster: Cluster, namespace: str) -> None:
    team = Team(cluster, namespace)
    with operator(cluster.kubeconfig, [namespace], {"LLMSERVICE_POD_LABELS": '{"cost-center": "42"}'}):
        inject = "sidecar.istio.io/inject"
        team.serve(pod={"labels": {inject: "false"}})
        first = wait_until(team.pods, "its pod exists", timeout=60)[0]
        assert {inject: "false", "cost-center": "42"}.items() <= first["metadata"]["labels"].items()
        selector = team.statefulset()["spec"]["selector"]
        assert not {inject, "cost-center"} & selector["matchLabels"].keys()
        team.change(pod={"labels": {inject: "true"}})
        wait_until(has(team, **{inject: "true"}), "the template has the new label")
        team.change(pod=None)
        wait_until(lambda: inject not in labels(team.statefulset()), "the template has it no more")
        assert labels(team.statefulset())["cost-center"] == "42"
        assert team.statefulset()["spec"]["selector"] == selector
