"""Pods and Services with the families of addresses that the cluster has: IPv4, IPv6, or both."""

from __future__ import annotations

import functools
import ipaddress
import json
import secrets
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import a_service
from llmservice_operator.autoscaling import external_metrics
from support.aggregation import APISERVICES
from support.cluster import Cluster, wait_until
from support.device_driver import NODE
from support.release import VALUES, Release
from support.serving import Serving
from support.web import answers, host

pytestmark = [pytest.mark.cluster_wide, pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(1200)]

POLICY = "PreferDualStack"


@pytest.fixture(scope="module")
def families(serving: Serving) -> frozenset[int]:
    """The versions of IP of the real node's addresses."""
    addresses = serving.cluster.request("GET", f"/api/v1/nodes/{NODE}").body["status"]["addresses"]
    return versions(each["address"] for each in addresses if each["type"] == "InternalIP")


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    """Services get an address of each family; afterwards the release is as the other tests have it."""
    made = Release(cluster.kubeconfig)
    try:
        made.install(runtime={**VALUES["runtime"], "ipFamilyPolicy": POLICY})
        yield made
    finally:
        made.install()


@pytest.mark.usefixtures("release")
def test_engines_answer_at_each_address_of_the_pod_and_of_the_service(
    serving: Serving, families: frozenset[int]
) -> None:
    name = f"families-{secrets.token_hex(3)}"
    serving.apply(a_service(name).from_source("pvc://models/tiny").on_cpu().build())
    serving.wait_for(name, "Ready", "True")
    (pod,) = serving.pods(name)
    service = serving.get("Service", name) or {}
    of_pod = [each["ip"] for each in pod["status"]["podIPs"]]
    of_service = service["spec"]["clusterIPs"]
    assert versions(of_pod) == versions(of_service) == families
    urls = [f"http://{host(each)}:8000" for each in of_pod] + [f"http://{host(each)}" for each in of_service]
    for url in urls:
        wait_until(functools.partial(answers, f"{url}/ping"), f"{url} answers", timeout=60)
        assert complete(url, name)
    for each in of_pod:
        assert answers(f"http://{host(each)}:8002/metrics")
    serving.delete("LLMService", name)
    wait_until(lambda: not serving.pods(name), "its pods are gone", timeout=120)


def test_the_metrics_api_is_available(cluster: Cluster) -> None:
    def available() -> bool:
        found = cluster.request("GET", f"{APISERVICES}/{external_metrics.API_SERVICE}").body
        conditions = found.get("status", {}).get("conditions") or ()
        return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)

    wait_until(available, "the API server reaches the operator's metrics API", timeout=120)


def versions(addresses: Any) -> frozenset[int]:
    return frozenset(ipaddress.ip_address(each).version for each in addresses)


def complete(url: str, model: str) -> list[Any]:
    """The choices of one completion."""
    body = json.dumps({"model": model, "prompt": "The above copyright notice", "max_tokens": 4}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return list(json.load(answer)["choices"])
