"""The gateway's ServiceAccount in a cluster, with the rights that the chart gives it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from support.cluster import APPLY, Cluster
from support.helm import render

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": RBAC + "/namespaces/{}/roles",
    "RoleBinding": RBAC + "/namespaces/{}/rolebindings",
    "ValidatingAdmissionPolicy": ADMISSION + "/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": ADMISSION + "/validatingadmissionpolicybindings",
}


@contextlib.contextmanager
def gateway_account(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Its name, which is its own; roles for the namespace, and the policy on the account. Gone afterwards."""
    name = f"test-{secrets.token_hex(3)}"
    values: dict[str, Any] = {"fullnameOverride": name, "gateway": {"type": "NGINX", "namespaces": [namespace]}}
    made = []
    try:
        for each in render(values, namespace=namespace):
            if each["metadata"]["name"].startswith(f"{name}-gateway") and each["kind"] in PATHS:
                path = f"{PATHS[each['kind']].format(namespace)}/{each['metadata']['name']}"
                answer = cluster.request("PATCH", path, each, content_type=APPLY, fieldManager="test")
                assert answer.ok, answer.message
                made.append(path)
        assert len(made) == len(PATHS)
        yield f"{name}-gateway"
    finally:
        for path in made:
            cluster.request("DELETE", path)


def token_of(cluster: Cluster, namespace: str, account: str) -> str:
    """A token of a ServiceAccount."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    return str(cluster.request("POST", path, {"spec": {}}).body["status"]["token"])
