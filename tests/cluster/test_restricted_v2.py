"""Pods in a namespace that admits what OpenShift's SecurityContextConstraints ``restricted-v2`` admit: no user and no
group outside the range of the namespace. Pod Security's level ``restricted`` is enforced there too. OpenShift itself
also adds the user; here pods are admitted without one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from builders.cases import CASES
from builders.services import a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources.children import make_children
from llmservice_operator.resources.inspection import make_inspection
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Platform
from support.cluster import Cluster, wait_until
from support.helm import only, render
from support.operator import operator

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
FIRST, LAST = 1000680000, 1000689999
MESSAGE = "must be in the range of the namespace"
USER = f"(!has({{0}}) || ({{0}} >= {FIRST} && {{0}} <= {LAST}))"
EVERY_CONTAINER = "(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : []))"
RULES = (
    f"!has(object.spec.securityContext) || {USER.format('object.spec.securityContext.runAsUser')}",
    f"!has(object.spec.securityContext) || {USER.format('object.spec.securityContext.fsGroup')}",
    "!has(object.spec.securityContext) || !has(object.spec.securityContext.supplementalGroups)",
    f"{EVERY_CONTAINER}.all(c, !has(c.securityContext) || {USER.format('c.securityContext.runAsUser')})",
    "!has(object.spec.hostNetwork) || !object.spec.hostNetwork",
    "!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.hostPath))",
)


@pytest.fixture(scope="module")
def guarded(cluster: Cluster) -> Iterator[str]:
    """The namespace. The policy selects it alone."""
    with cluster.namespace("openshift") as name:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        answer = cluster.request(
            *("PATCH", f"/api/v1/namespaces/{name}", {"metadata": {"labels": labels}}),
            content_type="application/merge-patch+json",
        )
        assert answer.ok, answer.message
        selector = {"matchLabels": {"kubernetes.io/metadata.name": name}}
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        policy = {
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
                "validations": [{"expression": each, "message": MESSAGE} for each in RULES],
            },
        }
        binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
        bindings = POLICIES.replace("policies", "policybindings")
        try:
            for path, body in ((POLICIES, policy), (bindings, binding)):
                answer = cluster.request("POST", path, body)
                assert answer.ok, answer.message
            fixed = _pods(name, CASES["everything"].build(), Platform())[0]
            wait_until(lambda: MESSAGE in _try(cluster, name, fixed), "the policy is in force")
            yield name
        finally:
            for path in (bindings, POLICIES):
                cluster.request("DELETE", f"{path}/{name}")


def _pods(namespace: str, service: Any, platform: Platform) -> list[dict[str, Any]]:
    """A pod of each template of the service."""
    owner = Owner(service["metadata"]["name"], namespace, service["metadata"]["uid"])
    spec = LLMServiceSpec.model_validate(service["spec"])
    made = [*make_children(owner, spec, platform, 1).statefulsets, make_inspection(owner, spec, platform)]
    return [_pod(json.loads(json.dumps(each))["spec"]) for each in made]


def _pod(spec: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = copy.deepcopy(spec["template"]["spec"])
    for field in ("priorityClassName", "runtimeClassName", "serviceAccountName"):
        pod.pop(field, None)
    for claim in spec.get("volumeClaimTemplates") or ():
        name = claim["metadata"]["name"]
        pod["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": pod}


def _try(cluster: Cluster, namespace: str, pod: dict[str, Any]) -> str:
    """Why the pod is not admitted; empty if it is."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    answer = cluster.request("POST", path, pod, dryRun="All", fieldValidation="Strict")
    return "" if answer.ok else answer.message


@pytest.mark.parametrize("case", CASES)
def test_pods_without_a_fixed_user_are_admitted(cluster: Cluster, guarded: str, case: str) -> None:
    for pod in _pods(guarded, CASES[case].build(), Platform(fixed_user=False)):
        assert _try(cluster, guarded, pod) == ""


def test_pods_with_the_images_user_are_not(cluster: Cluster, guarded: str) -> None:
    for pod in _pods(guarded, CASES["everything"].build(), Platform()):
        assert MESSAGE in _try(cluster, guarded, pod)


@pytest.mark.parametrize(("found", "admitted"), [((), False), (("security.openshift.io/v1",), True)])
def test_the_operators_own_pod(cluster: Cluster, guarded: str, found: tuple[str, ...], admitted: bool) -> None:
    """`helm install` finds the API group by itself."""
    pod = _pod(only(render(api_versions=found), "Deployment")["spec"])
    assert (_try(cluster, guarded, pod) == "") is admitted


@pytest.mark.parametrize(("fixed_user", "admitted"), [("true", False), ("false", True)])
def test_a_service_gets_its_pods(cluster: Cluster, guarded: str, fixed_user: str, admitted: bool) -> None:
    """Through the operator and the controller of StatefulSets; no node takes them."""
    name = f"user-{fixed_user}"
    spec = {
        "model": {"source": "pvc://models/tiny"},
        "accelerator": {"type": "cpu"},
        "cache": {"size": "1Gi"},
        "scheduling": {"nodeSelector": {"llmservice.test/none": "yes"}},
    }
    service = {
        **{key: a_service(name).build()[key] for key in ("apiVersion", "kind")},
        "metadata": {"name": name},
        "spec": spec,
    }
    with operator(cluster.kubeconfig, [guarded], {"LLMSERVICE_FIXED_USER": fixed_user}):
        made = cluster.create(guarded, service)
        assert made.ok, made.message
        if admitted:
            path = f"/api/v1/namespaces/{guarded}/pods/{name}-0"
            wait_until(lambda: cluster.request("GET", path).ok, "the pod is admitted")
            pod = cluster.request("GET", path).body
            assert "runAsUser" not in pod["spec"]["securityContext"]
            return

        def refusal() -> str:
            found = cluster.request("GET", cluster.services(guarded, name)).body.get("status", {})
            return json.dumps(found) if MESSAGE in json.dumps(found) else ""

        assert wait_until(refusal, "the service says why it has no pod")
