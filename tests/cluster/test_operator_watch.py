"""Watch streams that break or lie: nothing stays lost."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import a_service
from support.cluster import Cluster, wait_until
from support.operator import operator
from support.proxy import Fault, Proxy, Request

GONE = {
    "type": "ERROR",
    "object": {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": "Expired",
        "code": 410,
        "message": "too old resource version",
    },
}


class GoneOnDeletion(Fault):
    """Deletions of one kind are never reported; the watch ends with 410 Gone instead."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        self.struck = threading.Event()

    def event(self, request: Request, event: dict[str, Any]) -> bool | dict[str, Any]:
        if request.resource == self.resource and event["type"] == "DELETED":
            self.struck.set()
            return GONE
        return True


class Fatal(Fault):
    """The next event of a kind is an error that no watch recovers from."""

    def event(self, request: Request, event: dict[str, Any]) -> bool | dict[str, Any]:
        if request.resource == "services":
            return {**GONE, "object": {**GONE["object"], "code": 500, "reason": "InternalError"}}
        return True


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.kubeconfig) as proxy:
        yield proxy


def create(cluster: Cluster, namespace: str, name: str) -> None:
    service = a_service(name).with_replicas(0).build()
    service["metadata"].pop("namespace", None)
    made = cluster.create(namespace, service)
    assert made.ok, made.message


def uid(cluster: Cluster, path: str) -> str:
    answer = cluster.request("GET", path)
    return str(answer.body["metadata"]["uid"]) if answer.ok else ""


def test_a_deletion_that_fell_into_a_gap_of_the_watch_is_found_by_the_sweep_that_follows(
    cluster: Cluster, namespace: str, proxy: Proxy
) -> None:
    path = f"/api/v1/namespaces/{namespace}/services/chat"
    with operator(proxy.kubeconfig, [namespace]) as process:
        create(cluster, namespace, "chat")
        create(cluster, namespace, "other")
        wait_until(lambda: uid(cluster, path), "the Service is there")
        wait_until(lambda: uid(cluster, f"{path}-headless"), "the headless Service is there")
        before = uid(cluster, path)
        proxy.fault = fault = GoneOnDeletion("services")
        assert cluster.request("DELETE", path).ok
        wait_until(fault.struck.is_set, "the watch gets 410 Gone")
        proxy.fault = Fault()
        wait_until(
            lambda: uid(cluster, path) not in ("", before), f"the Service is back\n{process.log()[-2000:]}", timeout=40
        )


def test_an_error_that_no_watch_recovers_from_ends_the_process_and_the_next_one_goes_on(
    cluster: Cluster, namespace: str, proxy: Proxy
) -> None:
    path = f"/api/v1/namespaces/{namespace}/services/chat"
    with operator(proxy.kubeconfig, [namespace]) as process:
        create(cluster, namespace, "chat")
        wait_until(lambda: uid(cluster, path), "the Service is there")
        proxy.fault = Fatal()
        before = uid(cluster, path)
        assert cluster.request("DELETE", path).ok
        assert process.wait(timeout=40) == 1
        proxy.fault = Fault()
        process.start()
        wait_until(lambda: uid(cluster, path) not in ("", before), "the Service is back", timeout=40)
