"""Fixtures of tests on a real API server: the cluster, and a namespace of the test's own.

Files may run side by side (pytest -n 3 --dist loadgroup), but for those that change what a cluster has one of: who owns
external.metrics.k8s.io, an installed chart. They carry the mark ``cluster_wide`` and run one by one. Those with nodes
of their own (``own_nodes``) wait most of their time. Both take longest, so they begin first.
"""

import secrets
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.aggregation import ensure_fake_nodes
from support.cluster import Cluster, connect
from support.operator import operator
from support.rollouts import Rolled, make_node

OPERATOR = "llmservice-operator"
FIRST = ("cluster_wide", "own_nodes")
LONGEST = ("test_nodes_on_demand.py", "test_rollouts.py")
"""Of those with nodes of their own."""
HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """pytest-xdist would begin with the groups of the most tests."""
    config.option.loadscopereorder = False


def turn(item: pytest.Item) -> tuple[int, bool]:
    """The position of its mark in FIRST, the length of that if it has none or is no test of this directory; and whether
    there are longer files with the same mark."""
    marks = [item.path.is_relative_to(HERE) and item.get_closest_marker(mark) is not None for mark in FIRST]
    return (*marks, True).index(True), item.path.name not in LONGEST


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Keep a file's tests together, and those of all files that change the cluster; the longest come first."""
    for item in items:
        marked = turn(item)[0] == FIRST.index("cluster_wide")
        item.add_marker(pytest.mark.xdist_group("cluster_wide" if marked else item.nodeid.partition("::")[0]))
    items.sort(key=turn)
    yield
    if getattr(config.option, "loadgroup", False) and not all("@" in item.nodeid for item in items):
        raise pytest.UsageError(
            "pytest-xdist has made no groups: tests that must run one by one would run side by side"
        )


def acts_everywhere(deployment: dict[str, Any]) -> bool:
    """Whether an operator for all namespaces runs; those of other tests serve single namespaces."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    reported = {each["name"]: each.get("value", "") for each in container.get("env", ())}
    return bool(deployment["status"].get("readyReplicas")) and not reported.get("LLMSERVICE_NAMESPACES")


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of $KUBECONFIG or of `make cluster-up`, with the CRD of this working tree in force.

    An operator that acts there on everything, as a demo leaves one, would fight with those of the tests.
    """
    found = connect()
    operators = found.request("GET", "/apis/apps/v1/deployments", labelSelector=f"app.kubernetes.io/name={OPERATOR}")
    acting = [each["metadata"]["namespace"] for each in operators.body["items"] if acts_everywhere(each)]
    assert not acting, f"an operator acts in namespace {acting[0]}: hack/cluster/down, then hack/cluster/up"
    found.apply_crd()
    return found


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace; deleted after the test, without waiting until it is gone."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="module")
def shared_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for all tests of a file, for those that leave nothing in it, such as dry runs."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def rolled(cluster: Cluster, namespace: str) -> Iterator[Rolled]:
    """A service that is not made yet, on a node with two GPUs."""
    ensure_fake_nodes(cluster, 1)
    node = f"gpus-{secrets.token_hex(3)}"
    make_node(cluster, node, 2)
    yield Rolled(cluster, namespace, "chat", node)
    cluster.request("DELETE", f"/api/v1/nodes/{node}")


@pytest.fixture(scope="module")
def watched_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace with an operator over it, for the tests of one file; kwok plays nodes."""
    ensure_fake_nodes(cluster, 1)
    with cluster.namespace() as name, operator(cluster.kubeconfig, [name]):
        yield name
