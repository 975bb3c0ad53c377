"""Admission policies that change the operator's objects and pods, one field at a time: each service becomes ready, a
change of its spec rolls out, and nothing is written at rest. Pods are kwok's, on a node of the test's own.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import COMMIT, a_service
from llmservice_operator.resources import kinds
from support import versions
from support.aggregation import ensure_fake_nodes
from support.campaign import FULL
from support.cluster import MERGE, Cluster, wait_until
from support.mutations import MORE, OF_JOBS, QUICK, ROOT, Mutation, binding
from support.operator import OperatorProcess, operator
from support.rollouts import AT_ONCE, Rolled, make_node, on_node

# All its services have one node of this file alone, so it may run beside the tests with nodes of their own.
pytestmark = pytest.mark.timeout(3000 if FULL else 400)

MUTATIONS = (*QUICK, *MORE) if FULL else QUICK
REST_SECONDS = 60 if FULL else 15
OLD, NEW = 1024, 2048
SCALING = {"scaling": {"minReplicas": 1, "maxReplicas": 2, "targets": {"timeToFirstToken": {"p99": "200ms"}}}}


@dataclasses.dataclass
class Fleet:
    """A service for each mutation, and one operator for all of them."""

    cluster: Cluster
    namespace: str
    operator: OperatorProcess
    services: dict[str, Rolled]
    waiting: dict[str, Rolled]
    """Services whose model is still to be read."""

    def versions(self) -> dict[str, str]:
        """The resourceVersion of every child, without those whose status changes by itself."""
        found = {}
        for kind in kinds.CHILDREN:
            if kind.pruned and kind.adapter is None and kind is not kinds.HORIZONTAL_POD_AUTOSCALER:
                answer = self.cluster.request("GET", kind.path(self.namespace))
                assert answer.ok or answer.status == 404, answer.message  # an API that this cluster lacks
                for each in answer.body.get("items", ()):
                    found[f"{kind.kind} {each['metadata']['name']}"] = each["metadata"]["resourceVersion"]
        return found


def named(mutation: Mutation) -> str:
    return f"s-{mutation.name}"[:40].rstrip("-")


@pytest.fixture(scope="module")
def fleet(cluster: Cluster) -> Iterator[Fleet]:
    """All policies in force, and then all services."""
    versions.need(cluster, "admissionregistration.k8s.io/v1", "mutatingadmissionpolicies")
    ensure_fake_nodes(cluster, 1)
    node, prefix = f"gpus-{secrets.token_hex(3)}", f"mutation-{secrets.token_hex(3)}"
    policies = []
    with cluster.namespace() as namespace:
        try:
            make_node(cluster, node, 500, pool="gpu")
            for mutation in (*MUTATIONS, *OF_JOBS):
                name = f"{prefix}-{mutation.name}"
                policies.append(name)
                made = cluster.request(
                    "POST", f"{ROOT}/mutatingadmissionpolicies", mutation.policy(name, namespace, named(mutation))
                )
                assert made.ok, f"{mutation.name}: {made.message}"
                made = cluster.request("POST", f"{ROOT}/mutatingadmissionpolicybindings", binding(name))
                assert made.ok, made.message
            wait_until(lambda: in_force(cluster, namespace), "the policies are in force", timeout=60)
            settings = {"LLMSERVICE_SCALING_ADAPTER": "prometheusAdapter"}
            with operator(cluster.kubeconfig, [namespace], settings) as process:
                services = {each.name: Rolled(cluster, namespace, named(each), node) for each in MUTATIONS}
                waiting = {each.name: Rolled(cluster, namespace, named(each), node) for each in OF_JOBS}
                for mutation in (*MUTATIONS, *OF_JOBS):
                    create(cluster, namespace, mutation, node)
                yield Fleet(cluster, namespace, process, services, waiting)
        finally:
            for name in policies:
                for plural in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
                    cluster.request("DELETE", f"{ROOT}/{plural}/{name}")
            cluster.request("DELETE", f"/api/v1/nodes/{node}")


def in_force(cluster: Cluster, namespace: str) -> bool:
    """Whether the last policy changes its kind. The API server reads all of them at once."""
    mutation = OF_JOBS[-1]
    labels = {"app.kubernetes.io/instance": named(mutation)}
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
    meta = {"name": "canary", "labels": labels, "annotations": {"example.com/canary": "true"}}
    job = {"metadata": meta, "spec": {"template": pod}}
    answer = cluster.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job, dryRun="All")
    assert answer.ok, answer.message
    return "cost-center" in answer.body["metadata"]["labels"]


def create(cluster: Cluster, namespace: str, mutation: Mutation, node: str) -> None:
    job = mutation in OF_JOBS
    service = a_service(named(mutation)).from_source("hf://org/name", None if job else COMMIT).with_replicas(1)
    spec: dict[str, Any] = {
        "scheduling": on_node(node),
        "resources": {"cpu": AT_ONCE},
        "model": {"maxContextLength": OLD},
        **(SCALING if mutation.kind == "HorizontalPodAutoscaler" else {}),
    }
    made = cluster.create(namespace, service.with_spec(**spec).build())
    assert made.ok, f"{mutation.name}: {made.message}"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_it_becomes_ready(fleet: Fleet, mutation: Mutation) -> None:
    rolled = fleet.services[mutation.name]
    rolled.settled(1)
    reported = [each for each in rolled.get()["status"]["findings"] if each["reason"] == "FieldsChangedElsewhere"]
    assert bool(reported) == mutation.reported, reported
    if mutation.reported:
        assert "admission webhook or policy" in reported[0]["message"] and mutation.kind in reported[0]["message"]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_a_change_of_the_spec_rolls_out(fleet: Fleet, mutation: Mutation) -> None:
    rolled = fleet.services[mutation.name]
    before = rolled.uids()
    rolled.edit(model={"maxContextLength": NEW})
    rolled.settled(1)
    assert rolled.uids() != before
    environment = rolled.pods()[0]
    (engine,) = [each for each in environment["spec"]["containers"] if each["name"] == "engine"]
    (source,) = [each["configMapRef"]["name"] for each in engine["envFrom"] if "configMapRef" in each]
    path = f"/api/v1/namespaces/{fleet.namespace}/configmaps/{source}"
    assert fleet.cluster.request("GET", path).body["data"]["MODEL_MAX_CONTEXT_LENGTH"] == str(NEW)


def test_a_job_that_a_policy_changes_is_applied_once(fleet: Fleet) -> None:
    for rolled in fleet.waiting.values():
        rolled.wait_for("Accepted", "InspectingModel")
        path = f"/apis/batch/v1/namespaces/{fleet.namespace}/jobs"
        jobs = fleet.cluster.request("GET", path, labelSelector=f"app.kubernetes.io/instance={rolled.name}")
        (job,) = jobs.body["items"]
        assert job["metadata"]["generation"] == 1
        assert rolled.condition("Reconciling").get("reason") != "ApplyFailed"


def test_nothing_is_written_at_rest_nor_by_a_restart(fleet: Fleet) -> None:
    """Requests of the operator are counted while it runs, and versions of objects over its restart."""
    writes = "llmservice_operator_api_writes_total"
    wait_until(lambda: rests(fleet.operator, writes, 3), "the operator rests", timeout=60)
    before, versions = fleet.operator.metric(writes), fleet.versions()
    time.sleep(REST_SECONDS)
    assert fleet.operator.metric(writes) == before
    assert fleet.versions() == versions
    fleet.operator.stop()
    fleet.operator.start()
    wait_until(lambda: fleet.operator.metric("llmservice_operator_services") >= len(fleet.services), "all are seen")
    wait_until(lambda: rests(fleet.operator, writes, 3), "the operator rests", timeout=60)
    assert fleet.versions() == versions


def rests(process: OperatorProcess, writes: str, seconds: float) -> bool:
    """Whether it writes nothing for so long."""
    before = process.metric(writes)
    time.sleep(seconds)
    return process.metric(writes) == before


def test_what_a_person_edits_is_set_back_under_a_policy(fleet: Fleet) -> None:
    rolled = fleet.services["imagePullPolicy".lower()]
    path = f"/apis/apps/v1/namespaces/{fleet.namespace}/statefulsets/{rolled.name}"
    patch = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
    answer = fleet.cluster.request("PATCH", path, patch, content_type=MERGE, fieldManager="kubectl-edit")
    assert answer.ok, answer.message
    wait_until(
        lambda: rolled.statefulset()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 7, "set back"
    )
    rolled.settled(1)
