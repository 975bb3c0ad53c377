"""Registration of the metrics API at the API server: written once, only if needed, and errors are reported."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmservice_operator.autoscaling import metrics_unavailable
from support.fake_api import refusal
from support.metrics_api_fixtures import OPERATORS, SERVICE, Served, api_service, serving

NAME = "v1beta1.external.metrics.k8s.io"
WRITES = [f"apply EndpointSlice {SERVICE}", f"apply APIService {NAME}"]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as made:
        yield made


def found(served: Served) -> dict[str, Any]:
    service = served.api.get("APIService", "", NAME)
    assert service
    return service


async def test_the_api_server_learns_address_and_authority_in_this_order(served: Served) -> None:
    assert await served.metrics.ensure() is None
    assert served.api.writes == WRITES
    slice_ = served.api.get("EndpointSlice", OPERATORS, SERVICE)
    assert slice_
    assert slice_["addressType"] == "IPv4"
    assert slice_["endpoints"] == [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}]
    assert slice_["ports"] == [{"name": "https", "port": served.port, "protocol": "TCP"}]
    assert slice_["metadata"]["labels"] == {
        "kubernetes.io/service-name": SERVICE,
        "endpointslice.kubernetes.io/managed-by": "llmservice-operator",
    }
    (owner,) = slice_["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Service", SERVICE)
    assert base64.b64decode(found(served)["spec"]["caBundle"]).decode() == served.metrics._certificates.bundle
    assert found(served)["spec"]["group"] == "external.metrics.k8s.io", "the rest is as the chart has it"


async def test_for_kubernetes_1_33_the_address_is_in_endpoints_too() -> None:
    async with serving(endpoints=True) as served:
        assert await served.metrics.ensure() is None
        assert served.api.writes == [WRITES[0], f"apply Endpoints {SERVICE}", WRITES[1]]
        found = served.api.get("Endpoints", OPERATORS, SERVICE)
        assert found
        ports = [{"name": "https", "port": served.port, "protocol": "TCP"}]
        assert found["subsets"] == [{"addresses": [{"ip": "10.1.2.3"}], "ports": ports}]
        assert found["metadata"]["labels"] == {"endpointslice.kubernetes.io/skip-mirror": "true"}
        found["subsets"][0]["addresses"][0]["ip"] = "10.9.9.9"
        served.api.calls.clear()
        await served.metrics.ensure()
        assert served.api.writes == [f"apply Endpoints {SERVICE}"]


async def test_at_rest_nothing_is_written(served: Served) -> None:
    await served.metrics.ensure()
    served.api.calls.clear()
    for _ in range(5):
        assert await served.metrics.ensure() is None
    assert served.api.writes == []


@pytest.mark.parametrize("lost", ["authority", "address"])
async def test_what_somebody_else_changed_is_put_right(served: Served, lost: str) -> None:
    await served.metrics.ensure()
    if lost == "authority":
        found(served)["spec"]["caBundle"] = "b3RoZXI="
    else:
        slice_ = served.api.get("EndpointSlice", OPERATORS, SERVICE)
        assert slice_
        slice_["endpoints"][0]["addresses"] = ["10.9.9.9"]
    served.api.calls.clear()
    await served.metrics.ensure()
    assert served.api.writes == [WRITES[lost == "authority"]]


async def test_without_an_api_service_it_says_what_installs_one(served: Served) -> None:
    del served.api.objects["APIService", "", NAME]
    gap = await served.metrics.ensure()
    assert gap
    assert gap.reason == metrics_unavailable.ADAPTER_UNAVAILABLE
    assert gap.message == (
        "external.metrics.k8s.io is not served: the APIService v1beta1.external.metrics.k8s.io is missing. "
        "The chart installs it with scaling.adapter own"
    )
    del served.api.objects["Service", OPERATORS, SERVICE]
    served.api.put(api_service())
    gap = await served.metrics.ensure()
    assert gap
    assert f"The Service {OPERATORS}/{SERVICE} of the metrics API is missing" in gap.message
    assert served.api.writes == []


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (("keda", "keda-operator-metrics-apiserver"), "scaling.adapter to keda, or remove its APIService"),
        (("monitoring", "prometheus-adapter"), "scaling.adapter to prometheusAdapter if that is prometheus-adapter"),
        (("other", SERVICE), f"is served by other/{SERVICE}"),
    ],
)
async def test_what_is_somebody_elses_is_not_touched(served: Served, owner: tuple[str, str], words: str) -> None:
    served.api.put(api_service(*owner))
    gap = await served.metrics.ensure()
    assert gap
    assert gap.reason == metrics_unavailable.METRICS_API_TAKEN
    assert words in gap.message
    assert served.api.writes == []


@pytest.mark.parametrize(("address", "shown"), [("10.1.2.3", "10.1.2.3:"), ("fd00::a", "[fd00::a]:")])
async def test_the_address_that_the_api_server_does_not_reach_is_named(
    served: Served, address: str, shown: str
) -> None:
    registration = served.metrics._registration
    registration._settings = registration._settings.model_copy(update={"pod_ip": address})
    clock = 0.0
    registration._now = lambda: clock
    found(served)["status"] = {"conditions": [{"type": "Available", "status": "False", "message": "no response"}]}
    await served.metrics.ensure()
    slice_ = served.api.get("EndpointSlice", OPERATORS, SERVICE)
    assert slice_ and slice_["addressType"] == f"IPv{6 if ':' in address else 4}"
    await served.metrics.ensure()
    clock = 30.0
    gap = await served.metrics.ensure()
    assert gap
    assert f"{shown}{served.port})" in gap.message
    assert "hostNetwork" in gap.message


async def test_unavailable_counts_after_a_while_and_ends_at_once(served: Served) -> None:
    clock = 0.0
    served.metrics._registration._now = lambda: clock
    await served.metrics.ensure()
    message = "failing or missing response from https://10.1.2.3:8443: dial tcp: i/o timeout"
    found(served)["status"]["conditions"] = [{"type": "Available", "status": "False", "message": message}]
    assert await served.metrics.ensure() is None
    clock = 19.0
    assert await served.metrics.ensure() is None
    clock = 21.0
    gap = await served.metrics.ensure()
    assert gap
    assert gap.reason == metrics_unavailable.ADAPTER_UNAVAILABLE
    assert message in gap.message
    assert "network policies and firewalls" in gap.message
    found(served)["status"]["conditions"] = [{"type": "Available", "status": "True"}]
    assert await served.metrics.ensure() is None
    clock = 100.0
    assert await served.metrics.ensure() is None


async def test_a_refusal_is_told_and_a_passing_fault_is_not(served: Served) -> None:
    message = 'apiservices "v1beta1.external.metrics.k8s.io" is forbidden'
    served.api.fail_once(lambda call: refusal(403, message) if call == WRITES[1] else None)
    gap = await served.metrics.ensure()
    assert gap
    assert gap.reason == metrics_unavailable.ADAPTER_UNAVAILABLE
    assert message in gap.message
    served.api.fail_once(lambda call: refusal(500, "slow") if call.startswith("get APIService") else None)
    assert await served.metrics.ensure() == gap, "nothing new is known"
    assert await served.metrics.ensure() is None


async def test_without_an_address_it_says_which_variable_is_missing(served: Served) -> None:
    registration = served.metrics._registration
    registration._settings = registration._settings.model_copy(update={"pod_ip": ""})
    gap = await served.metrics.ensure()
    assert gap
    assert "LLMSERVICE_POD_IP" in gap.message


async def test_an_ipv6_cluster(served: Served) -> None:
    registration = served.metrics._registration
    registration._settings = registration._settings.model_copy(update={"pod_ip": "FD00::1"})
    assert await served.metrics.ensure() is None
    slice_ = served.api.get("EndpointSlice", OPERATORS, SERVICE)
    assert slice_
    assert (slice_["addressType"], slice_["endpoints"][0]["addresses"]) == ("IPv6", ["fd00::1"])
