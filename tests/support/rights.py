"""The chart's ServiceAccount with the chart's permissions, and which of them were used."""

import contextlib
import dataclasses
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from support.cluster import APPLY, Cluster, wait_until
from support.helm import of_kind, render
from support.proxy import Request

Permission = tuple[str, str, str, str]
"""Verb, API group, resource, and the object's name where it is for that one alone."""


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
        (verb, group, resource, name)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    )


def used(requests: Iterable[Request], granted: frozenset[Permission]) -> set[Permission]:
    """All that was needed for what was asked; where a right on the named object would do, that."""
    found = set()
    for request in requests:
        for permission in request.permissions if request.resource else ():
            named = (*permission, request.name)
            found.add(named if named in granted else (*permission, ""))
    return found


@contextlib.contextmanager
def account(cluster: Cluster, namespace: str, values: dict[str, Any]) -> Iterator[Account]:
    """The chart's ServiceAccount and roles in the cluster, under a name of their own; gone afterwards."""
    name = f"rbac-{secrets.token_hex(4)}"
    objects = render({"fullnameOverride": name, "rbac": {"tenantRoles": False}, **values}, namespace=namespace)
    made = []
    try:
        for each in (each for each in objects if each["kind"] in _NEEDED or _holds_the_operator(each)):
            path = _path(each)
            _serve_its_own_namespace(each)
            answer = cluster.request("PATCH", path, each, content_type=APPLY, fieldManager="test")
            assert answer.ok, f"{path}: {answer.message}"
            made.append((path, each))
        token = cluster.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {"spec": {}})
        assert token.ok, token.message
        bindings = of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding")
        bound = {each["roleRef"]["name"] for each in bindings}
        roles = [each for kind in ("Role", "ClusterRole") for each in of_kind(objects, kind)]
        yield Account(
            name,
            token.body["status"]["token"],
            permissions([each for each in roles if each["metadata"]["name"] in bound]),
        )
    finally:
        for path, each in sorted(made, key=lambda pair: pair[1]["kind"] != "ValidatingAdmissionPolicyBinding"):
            if each["metadata"].get("namespace") != namespace:
                cluster.request("DELETE", path)
        wait_until(lambda: not _denies(cluster, name), "its policies are no longer in force", timeout=60)


def _denies(cluster: Cluster, name: str) -> bool:
    """Whether policies of that name refuse an object of the operator in a namespace without services."""
    labels = {"app.kubernetes.io/managed-by": "llmservice-operator"}
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "probe-", "labels": labels}}
    answer = cluster.request("POST", "/api/v1/namespaces/default/configmaps", probe, dryRun="All")
    return not answer.ok and name in answer.message


_NEEDED = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Service", "APIService"}


def _holds_the_operator(obj: dict[str, Any]) -> bool:
    """The policies about this account alone; that about LLMServices would be in force for other tests, too."""
    return obj["kind"].startswith("ValidatingAdmissionPolicy") and "-own-" in obj["metadata"]["name"]


def _serve_its_own_namespace(obj: dict[str, Any]) -> None:
    """Takes out of a policy that no services are in the operator's own namespace: those of the tests are."""
    if obj["kind"] == "ValidatingAdmissionPolicy":
        rules = obj["spec"]["validations"]
        obj["spec"]["validations"] = [each for each in rules if "reservedNamespaces" not in each["message"]]


def _path(obj: dict[str, Any]) -> str:
    meta, root = obj["metadata"], "/api/v1" if obj["apiVersion"] == "v1" else f"/apis/{obj['apiVersion']}"
    plural = f"{obj['kind'].lower()}s".replace("policys", "policies")
    inside = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{root}{inside}/{plural}/{meta['name']}"
