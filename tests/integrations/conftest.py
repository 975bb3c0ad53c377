"""Fixtures of tests with KEDA itself on the real API server. `make test-integrations` starts it."""

from collections.abc import Iterator

import pytest

from llmservice_operator.autoscaling import external_metrics
from support.cluster import Cluster, connect

KEDA_SERVICE = {"namespace": "keda", "name": "keda-metrics-apiserver"}


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of $KUBECONFIG or of `make cluster-up`, where KEDA runs; the CRD of this working tree is in force."""
    found = connect()
    api = found.request("GET", f"/apis/apiregistration.k8s.io/v1/apiservices/{external_metrics.API_SERVICE}")
    serves = api.body.get("spec", {}).get("service") or {}
    assert {**serves, **KEDA_SERVICE} == serves, "KEDA does not run: `hack/cluster/keda build`, `hack/cluster/keda up`"
    found.apply_crd()
    return found


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace; deleted after the test, without waiting until it is gone."""
    with cluster.namespace("keda-test") as name:
        yield name
