"""A user with few permissions in one namespace."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from support.cluster import Cluster

RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


def kubeconfig_of_tenant(cluster: Cluster, namespace: str, rules: Sequence[Mapping[str, Any]], directory: Path) -> Path:
    """The kubeconfig, written to ``directory``, of a new ServiceAccount with the rights of ``rules`` and no others."""
    core, name = f"/api/v1/namespaces/{namespace}", f"tenant-{secrets.token_hex(4)}"
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    metadata = {"metadata": {"name": name}}
    for path, body in (
        (f"{core}/serviceaccounts", metadata),
        (f"{RBAC}/{namespace}/roles", {**metadata, "rules": list(rules)}),
        (f"{RBAC}/{namespace}/rolebindings", {**metadata, "roleRef": ref, "subjects": subjects}),
    ):
        made = cluster.request("POST", path, body)
        assert made.ok, made.message
    token = cluster.request("POST", f"{core}/serviceaccounts/{name}/token", {"spec": {}})
    assert token.ok, token.message
    config: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": token.body["status"]["token"]}
    path = directory / "tenant"
    path.write_text(yaml.safe_dump(config))
    return path
