"""Two operators, one Lease: one acts, the other takes over, and who loses the Lease ends."""

from collections.abc import Iterator

import pytest

from support.cluster import MERGE, Cluster, wait_until
from support.operator import OperatorProcess, operator

ELECTED = {"LLMSERVICE_LEADER_ELECTION": "true"}


def lease_path(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/llmservice-operator"


@pytest.fixture
def first(cluster: Cluster, namespace: str) -> Iterator[OperatorProcess]:
    """An operator that acts."""
    with operator(cluster.kubeconfig, [namespace], ELECTED) as process:
        wait_until(process.acts, lambda: f"the first operator acts\n{process.log()}")
        yield process


@pytest.fixture
def second(cluster: Cluster, namespace: str, first: OperatorProcess) -> Iterator[OperatorProcess]:
    """An operator that stands by."""
    with operator(cluster.kubeconfig, [namespace], ELECTED) as process:
        yield process


def test_a_standby_takes_over_at_once_from_one_that_was_stopped(
    first: OperatorProcess, second: OperatorProcess
) -> None:
    assert first.acts()
    assert not second.acts()
    assert first.stop(timeout=10) == 0
    wait_until(second.acts, lambda: f"the second operator acts\n{second.log()}", timeout=8)


def test_a_standby_takes_over_from_one_that_died(first: OperatorProcess, second: OperatorProcess) -> None:
    first.kill()
    wait_until(second.acts, lambda: f"the second operator acts\n{second.log()}", timeout=30)


def test_a_standby_stops_when_told(first: OperatorProcess, second: OperatorProcess) -> None:
    assert second.stop(timeout=10) == 0
    assert first.acts(), "the Lease of the first is not given back by the second"


def test_an_operator_that_lost_the_lease_ends_with_a_failure(
    cluster: Cluster, namespace: str, first: OperatorProcess
) -> None:
    taken = {"spec": {"holderIdentity": "another-holder", "leaseDurationSeconds": 3600}}
    assert cluster.request("PATCH", lease_path(namespace), taken, content_type=MERGE).ok
    assert first.wait(timeout=40) == 1
    holder = cluster.request("GET", lease_path(namespace)).body["spec"]["holderIdentity"]
    assert holder == "another-holder", "the Lease of another holder is not released"
