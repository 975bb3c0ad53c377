"""The platform's CAs and proxy on a real API server: copied into the service's namespace, kept as they are, and new
ones restart no pod."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llmservice_operator.api import GROUP, KIND, VERSION
from support.authority import Authority
from support.cluster import Cluster, wait_until
from support.operator import operator

SPEC = {
    "model": {"source": "pvc://models/tiny"},
    "accelerator": {"type": "cpu"},
    "scheduling": {"nodeSelector": {"llmservice.test/none": "yes"}},
}
PROXY = {"https": "http://proxy.corp.example:3128"}


def test_a_service_trusts_the_platforms_cas(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    first, second = (Authority(name).write(tmp_path, f"{name}.crt") for name in ("first", "second"))
    path = f"/api/v1/namespaces/{namespace}/configmaps/chat-platform-ca"

    def content() -> str:
        answer = cluster.request("GET", path)
        return str(answer.body["data"]["ca.crt"]) if answer.ok else ""

    def pod() -> dict[str, Any]:
        answer = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods/chat-0")
        return dict(answer.body) if answer.ok else {}

    def settings(bundle: Path) -> dict[str, str]:
        return {"LLMSERVICE_CA_BUNDLE": str(bundle), "LLMSERVICE_PROXY": json.dumps(PROXY)}

    with operator(cluster.kubeconfig, [namespace], settings(first)):
        service = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": "chat"}, "spec": SPEC}
        made = cluster.create(namespace, service)
        assert made.ok, made.message
        before = wait_until(pod, "the pod exists")
        assert content() == first.read_text()
        volumes = {each["name"]: each for each in before["spec"]["volumes"]}
        assert volumes["platform-ca"]["configMap"]["name"] == "chat-platform-ca"
        (source,) = before["spec"]["containers"][0]["envFrom"]
        environment = cluster.request(
            "GET", f"/api/v1/namespaces/{namespace}/configmaps/{source['configMapRef']['name']}"
        ).body["data"]
        assert environment["https_proxy"] == PROXY["https"]
        cluster.request("PATCH", path, {"data": {"ca.crt": "x"}}, content_type="application/merge-patch+json")
        wait_until(lambda: content() == first.read_text(), "the operator puts its CAs back")
    with operator(cluster.kubeconfig, [namespace], settings(second)):
        wait_until(lambda: content() == second.read_text(), "the new CAs are there")
        assert pod()["metadata"]["uid"] == before["metadata"]["uid"]
