"""The real operator at rest, and started again: it writes nothing. Counted by a proxy before the API server."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import a_service
from support.campaign import FULL
from support.cluster import Cluster, wait_until
from support.operator import OperatorProcess, operator
from support.proxy import Proxy, counted

SERVICES = 50 if FULL else 12
REST_SECONDS = 60.0 if FULL else 20.0
QUIET_SECONDS = 5.0
"""So long without a write, and what was begun has ended."""
NOWHERE = {"nodeSelector": {"llmservice.dev/no-such-node": "true"}}
"""Scheduling under which no pod ever gets a node, so that only the operator changes anything."""


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.kubeconfig) as proxy:
        yield proxy


def create(cluster: Cluster, namespace: str, name: str, **spec: Any) -> None:
    service = a_service(name).with_spec(scheduling=NOWHERE, **spec).build()
    service["metadata"].pop("namespace", None)
    made = cluster.create(namespace, service)
    assert made.ok, made.message


def until_all_have_a_status(cluster: Cluster, namespace: str, count: int) -> None:
    def done() -> bool:
        items = cluster.request("GET", cluster.services(namespace)).body["items"]
        current = [
            item for item in items if item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]
        ]
        return len(current) == count

    wait_until(done, f"{count} services have a status", timeout=180, every=0.5)


def until_quiet(proxy: Proxy) -> None:
    def quiet() -> bool:
        return time.monotonic() - max([each.at for each in proxy.writes()], default=0.0) > QUIET_SECONDS

    wait_until(quiet, lambda: f"the operator comes to rest; so far {counted(proxy.writes())}", timeout=120)


def until_looked_at(process: OperatorProcess, count: int) -> None:
    wait_until(
        lambda: (
            process.metric("llmservice_operator_reconciles_total") >= count
            and process.metric("llmservice_operator_queue_depth") == 0
        ),
        lambda: f"the operator has looked at {count} services\n{process.log()[-2000:]}",
        timeout=120,
    )


def test_many_services_at_rest_cause_no_write_and_neither_does_a_restart(
    cluster: Cluster, namespace: str, proxy: Proxy
) -> None:
    with operator(proxy.kubeconfig, [namespace]) as process:
        for number in range(SERVICES):
            create(cluster, namespace, f"chat-{number}", replicas=number % 3)
        until_all_have_a_status(cluster, namespace, SERVICES)
        until_quiet(proxy)
        begin = len(proxy.requests)
        time.sleep(REST_SECONDS)
        assert not proxy.writes(begin), f"writes at rest: {counted(proxy.writes(begin))}"

        assert process.stop() == 0
        begin = len(proxy.requests)
        process.start()
        until_looked_at(process, SERVICES)
        time.sleep(QUIET_SECONDS)
        assert not proxy.writes(begin), f"writes after a restart: {counted(proxy.writes(begin))}"


def test_a_resync_writes_nothing(cluster: Cluster, namespace: str, proxy: Proxy) -> None:
    with operator(proxy.kubeconfig, [namespace], {"LLMSERVICE_RESYNC_SECONDS": "1"}) as process:
        create(cluster, namespace, "chat")
        until_all_have_a_status(cluster, namespace, 1)
        until_quiet(proxy)
        begin = len(proxy.requests)
        looked = process.metric("llmservice_operator_reconciles_total")
        until_looked_at(process, int(looked) + 3)
        assert not proxy.writes(begin), f"writes of a resync: {counted(proxy.writes(begin))}"
        assert process.metric("llmservice_operator_swept_total") == 0


def test_a_service_costs_few_writes(cluster: Cluster, namespace: str, proxy: Proxy) -> None:
    """One for each child, the status as it develops, replicas set and given up, Events."""
    with operator(proxy.kubeconfig, [namespace]):
        create(cluster, namespace, "chat")
        until_all_have_a_status(cluster, namespace, 1)
        until_quiet(proxy)
    counts = counted(proxy.writes())
    assert counts["patch statefulsets"] == 1
    assert counts["patch services"] == 2
    assert counts["patch configmaps"] == 2
    assert counts["patch poddisruptionbudgets"] == 1
    assert counts["patch networkpolicies"] == 1
    assert counts["patch llmservices"] == 2
    assert counts["patch llmservices/status"] <= 4
