"""Watch streams that break or lie: nothing stays lost."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import a_service
from support import versions
from support.cluster import Cluster, wait_until
from support.operator import operator
from support.proxy import Fault, NotServed, Proxy, Request

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


class Lacks(Fault):
    """The API server does not have an API group."""

    def __init__(self, group: str) -> None:
        self.group = group

    def before(self, request: Request) -> None:
        if request.path.startswith(f"/apis/{self.group}"):
            raise NotServed


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
            lambda: uid(cluster, path) not in ("", before),
            lambda: f"the Service is back\n{process.log()[-2000:]}",
            timeout=40,
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
        wait_until(lambda: not process.running, lambda: process.log()[-3000:], timeout=40)
        assert process.wait() == 1
        proxy.fault = Fault()
        process.start()
        wait_until(lambda: uid(cluster, path) not in ("", before), "the Service is back", timeout=40)


def test_an_api_that_comes_and_goes_is_noticed_without_a_restart(
    cluster: Cluster, namespace: str, proxy: Proxy
) -> None:
    """As an upgrade of the API server, and a downgrade."""
    versions.need(cluster, "resource.k8s.io/v1", "resourceclaimtemplates")
    proxy.fault = Lacks("resource.k8s.io")
    with operator(proxy.kubeconfig, [namespace], {"LLMSERVICE_RESYNC_SECONDS": "5"}) as process:
        service = a_service("chat").with_replicas(0).with_spec(accelerator={"deviceClassName": "gpus"}).build()
        service["metadata"].pop("namespace", None)
        answer = cluster.create(namespace, service)
        assert answer.ok, answer.message
        wait_until(lambda: refused(cluster, namespace), "the service is not accepted")
        proxy.fault = Fault()
        made = wait_until(
            lambda: templates(cluster, namespace), lambda: f"the template is there\n{process.log()[-6000:]}", timeout=60
        )
        wait_until(lambda: not refused(cluster, namespace), "the service is accepted", timeout=60)
        for before, path in made.items():
            assert cluster.request("DELETE", path).ok
            wait_until(
                lambda: set(templates(cluster, namespace)) - {before},  # noqa: B023
                lambda: f"it is watched\n{process.log()[-6000:]}",
                timeout=60,
            )
        proxy.fault = Lacks("resource.k8s.io")
        wait_until(lambda: refused(cluster, namespace), "the service is not accepted", timeout=120)
        create(cluster, namespace, "other")
        wait_until(
            lambda: uid(cluster, f"/api/v1/namespaces/{namespace}/services/other"),
            lambda: f"others are served\n{process.log()[-4000:]}",
            timeout=120,
        )
        assert process.running


def templates(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Paths by uid."""
    path = f"/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaimtemplates"
    found = [each["metadata"] for each in cluster.request("GET", path).body["items"]]
    return {meta["uid"]: f"{path}/{meta['name']}" for meta in found}


def refused(cluster: Cluster, namespace: str) -> bool:
    conditions = cluster.request("GET", cluster.services(namespace, "chat")).body.get("status", {}).get("conditions")
    return any(each.get("reason") == "DeviceClaimsUnsupported" for each in conditions or ())
