"""The gateway follows the pods of a service on the real API server, with the chart's permissions alone."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from builders.services import a_service
from support.cluster import MERGE, Answer, Cluster, wait_until
from support.gateway_account import gateway_account, token_of
from support.gateway_process import GatewayProcess
from support.operator import operator
from support.rollouts import Rolled

pytestmark = [pytest.mark.own_nodes, pytest.mark.timeout(600)]


@pytest.fixture
def account(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Name of the gateway's ServiceAccount, with the chart's roles and the policy on it."""
    with gateway_account(cluster, namespace) as name:
        yield name


@pytest.fixture
def token(cluster: Cluster, namespace: str, account: str) -> str:
    """A token of that account."""
    return token_of(cluster, namespace, account)


@pytest.fixture
def gateway(cluster: Cluster, namespace: str, token: str, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway with that token."""
    kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
    process = GatewayProcess(tmp_path, kubeconfig["clusters"][0]["cluster"], token, namespace)
    yield process
    assert process.stop() == 0
    assert "cannot watch" not in (tmp_path / "log").read_text()


def test_the_rotation_follows_the_replicas(rolled: Rolled, gateway: GatewayProcess, namespace: str) -> None:
    with operator(rolled.cluster.kubeconfig, [namespace]):
        rolled.create(1)
        gateway.wait_for("chat-0")
        rolled.edit(replicas=2)
        gateway.wait_for("chat-0", "chat-1")
        rolled.edit(replicas=1)
        gateway.wait_for("chat-0")
        rolled.edit(replicas=0)
        gateway.wait_for()


@pytest.mark.campaign
def test_a_canary_that_does_not_answer_is_rolled_back(rolled: Rolled, gateway: GatewayProcess, namespace: str) -> None:
    url = f"http://127.0.0.1:{gateway.metrics_port}"
    with operator(rolled.cluster.kubeconfig, [namespace], {"LLMSERVICE_GATEWAY_URL": url}):
        rolled.create(2, canary={"weight": 0, "header": "x-canary"})
        gateway.wait_for("chat-0", "chat-1")
        before = rolled.pods()[0]["metadata"]["labels"]["controller-revision-hash"]
        rolled.change(2048)
        rolled.wait_for("RolledOut", "Updating")
        said = lambda: str(rolled.condition("RolledOut")["message"])  # noqa: E731
        wait_until(lambda: "canary chat-1: 0 of 0 failed" in said(), said, timeout=90)
        split = rolled.get()["status"]["canary"]
        assert split["weight"] == 0 and split["revision"] != before
        # Something may answer at the address that kwok gives a pod; at this one nothing does. The old replica gets what
        # the canary does not answer.
        nodes = rolled.cluster.request("GET", "/api/v1/nodes").body["items"]
        own = next(each for each in nodes if each["metadata"]["name"] == "gpu-0")["status"]["addresses"]
        address = next(each["address"] for each in own if each["type"] == "InternalIP")
        nowhere = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
        path = f"/api/v1/namespaces/{namespace}/pods/chat-1/status"
        assert rolled.cluster.request("PATCH", path, nowhere, content_type=MERGE).ok
        back = lambda: rolled.condition("RolledOut")["reason"] == "RolledBack"  # noqa: E731
        wait_until(lambda: gateway.chat({"X-Canary": "always"}) and back(), said, timeout=120)
        assert "CanaryFailed" in [each["reason"] for each in rolled.get()["status"]["findings"]]
        wait_until(lambda: "canary" not in rolled.get()["status"], "there is no canary")
        revisions = [pod["metadata"]["labels"]["controller-revision-hash"] for pod in rolled.pods()]
        assert revisions == [before, before]


def test_its_account_scales_from_zero_to_one_and_nothing_else(cluster: Cluster, namespace: str, account: str) -> None:
    made = cluster.create(namespace, a_service("chat").with_replicas(0).scaled(0).build())
    assert made.ok, made.message
    path = cluster.services(namespace, "chat")
    user = f"system:serviceaccount:{namespace}:{account}"

    def scale(replicas: int) -> Answer:
        body = {"spec": {"replicas": replicas}}
        return cluster.request("PATCH", f"{path}/scale", body, content_type=MERGE, user=user)

    def is_refused(replicas: int) -> bool:
        answer = scale(replicas)
        return not answer.ok and "from 0 to 1, and nothing else" in answer.message

    wait_until(lambda: is_refused(0), "the policy holds", timeout=60)
    assert is_refused(2)
    assert scale(1).ok
    for replicas in (0, 1, 2):
        assert is_refused(replicas)
    assert cluster.request("GET", path).body["spec"]["replicas"] == 1
    for body in ({"spec": {"replicas": 0}}, {"metadata": {"annotations": {"a": "b"}}}):
        assert cluster.request("PATCH", path, body, content_type=MERGE, user=user).status == 403
    assert cluster.request("DELETE", path, user=user).status == 403
    for kind in ("secrets", "configmaps"):
        assert cluster.request("GET", f"/api/v1/namespaces/{namespace}/{kind}", user=user).status == 403


def test_a_request_starts_a_replica_of_a_service_at_zero(
    rolled: Rolled, gateway: GatewayProcess, namespace: str
) -> None:
    with operator(rolled.cluster.kubeconfig, [namespace]):
        rolled.create(1)
        targets = {"timeToFirstToken": {"p99": "1s"}}
        rolled.edit(replicas=0, scaling={"minReplicas": 0, "maxReplicas": 2, "targets": targets})
        gateway.wait_for()
        sleeping = f'held_requests{{namespace="{namespace}",service="chat"}} 0'
        wait_until(lambda: sleeping in gateway.metrics(), "the gateway knows that it scales to zero", timeout=60)
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=120)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/chat/completions", b'{"model": "chat"}')
            gateway.wait_for("chat-0")
        spec = rolled.get()["spec"]
        assert spec["replicas"] == 1
