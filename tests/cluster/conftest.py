"""Fixtures of tests on a real API server: the cluster, and a namespace of the test's own."""

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, connect


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of $KUBECONFIG or of `make cluster-up`, with the CRD of this working tree in force."""
    found = connect()
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
