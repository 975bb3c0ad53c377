"""Gateways of the Gateway API on a real API server, with the CRDs of its modules: what the operator makes is valid and
is as desired when it is read again, what controllers report is shown, and policies keep the hosts of services."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from builders.services import COMMIT, a_service
from campaigns.world import world
from cluster.test_chart_admission import in_force
from cluster.test_chart_admission_tenants import TENANT, may, rule
from llmservice_operator.planner.model import drift
from llmservice_operator.resources import gateway_api
from llmservice_operator.resources.kinds import HTTP_ROUTE, INFERENCE_POOL
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import EndpointPicker, GatewayAPI, ParentRef, Platform
from support.cluster import APPLY, MERGE, Cluster, wait_until
from support.gateway_api import POOLS, ROUTES, crds, report
from support.rights import account
from support.serving import Serving

pytestmark = [pytest.mark.cluster_wide, pytest.mark.timeout(900)]

Json = dict[str, Any]
PARENTS = (ParentRef("inference", "gateway-system", "https", 443), ParentRef("own"))
PICKER = EndpointPicker("{service}-epp")
SETTINGS = {
    "paths": GatewayAPI(PARENTS, hostnames=("llm.example.com", "llm.internal"), request_timeout="1h30m"),
    "hosts": GatewayAPI(PARENTS, domain="llm.example.com"),
    "a picker": GatewayAPI(PARENTS[1:], domain="llm.example.com", request_timeout="", endpoint_picker=PICKER),
}
VALUES: Json = {
    "type": "GatewayAPI",
    "parentRefs": [{"name": "inference", "namespace": "gateway-system"}],
    "domain": "llm.example.com",
    "endpointPicker": {"name": "{service}-epp"},
}
NOWHERE = {"nodeSelector": {"llmservice.dev/test": "no-such-node"}}


def test_routes_come_with_their_crds_and_their_reports_are_shown(cluster: Cluster, namespace: str) -> None:
    """With the rights and policies of the chart."""
    given = {
        "parentRefs": [{"name": "inference", "namespace": "gateway-system"}],
        "domain": "llm.example.com",
        "endpointPicker": {"name": "{service}-epp"},
    }
    settings = {"LLMSERVICE_GATEWAY_API": json.dumps(given)}
    serving = Serving(cluster, namespace)
    route, pool = HTTP_ROUTE.path(namespace, "chat.service"), INFERENCE_POOL.path(namespace, "chat")

    def backend() -> str:
        found = cluster.request("GET", route)
        return str(found.body["spec"]["rules"][0]["backendRefs"][0]["kind"]) if found.ok else ""

    with (
        account(cluster, namespace, {"gateway": VALUES}) as who,
        world(cluster, namespace=namespace, token=who.token, resync=1, settings=settings) as made,
    ):
        assert cluster.create(namespace, _service(namespace)).ok
        serving.wait_for("chat", "Routed", "False", "GatewayAPIMissing", timeout=120)
        with crds(cluster, ROUTES):
            serving.wait_for("chat", "Routed", "Unknown", "AwaitingGateway", timeout=120)
            assert backend() == "Service"
            with crds(cluster, POOLS):
                wait_until(lambda: backend() == "InferencePool", "the route leads to the pool", timeout=120)
                found = cluster.request("GET", pool).body["spec"]
                assert found["endpointPickerRef"]["name"] == "chat-epp"
                refused = {
                    "type": "Accepted",
                    "status": "False",
                    "reason": "NotAllowedByListeners",
                    "message": "not here",
                }
                report(cluster, route, "inference", refused, namespace="gateway-system")
                said = serving.wait_for("chat", "Routed", "False", "RouteNotAccepted", timeout=120)
                assert "NotAllowedByListeners: not here" in said["message"]
                good = [{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "True"}]
                report(cluster, route, "inference", *good, namespace="gateway-system")
                said = serving.wait_for("chat", "Routed", "True", "Routed", timeout=120)
                assert (
                    f"chat.{namespace}.llm.example.com" in said["message"] and "InferencePool chat" in said["message"]
                )
                no_picker = {"type": "ResolvedRefs", "status": "False", "reason": "InvalidExtensionRef"}
                report(cluster, pool, "inference", good[0], no_picker, namespace="gateway-system")
                serving.wait_for("chat", "Routed", "False", "PoolNotAccepted", timeout=120)
                _hosts_that_others_set_are_set_back(cluster, route, namespace)
            wait_until(lambda: backend() == "Service", "the route leads to the Service again", timeout=120)
            assert cluster.request("DELETE", serving.path("LLMService", "chat")).ok
            wait_until(lambda: not backend(), "the route is gone with its service", timeout=120)
            assert cluster.create(namespace, _service(namespace)).ok
            wait_until(backend, "the route of the next service is there", timeout=120)
        serving.wait_for("chat", "Routed", "False", "GatewayAPIMissing", timeout=120)
        assert not re.search(r"cannot \w+ resource", made.operator.log()), "its rights are enough"


@pytest.fixture(scope="module")
def served(cluster: Cluster) -> Iterator[Cluster]:
    """For all tests below it."""
    with crds(cluster, ROUTES, POOLS):
        yield cluster


@pytest.mark.parametrize("case", SETTINGS)
def test_what_is_made_is_valid_and_is_read_again_as_it_was_desired(served: Cluster, namespace: str, case: str) -> None:
    platform = Platform(gateway_api=SETTINGS[case])
    owner = Owner("chat", namespace, "00000000-0000-4000-8000-000000000001")
    made = [gateway_api.make_http_route(owner, platform), gateway_api.make_inference_pool(owner, platform)]
    for kind, desired in zip((HTTP_ROUTE, INFERENCE_POOL), made, strict=True):
        if desired is None:
            assert kind is INFERENCE_POOL and case != "a picker"
            continue
        path, query = kind.path(namespace, desired["metadata"]["name"]), {"fieldValidation": "Strict", "dryRun": "All"}
        answer = served.request("PATCH", path, desired, content_type=APPLY, fieldManager="test", **query)
        assert answer.ok and not answer.warnings, (answer.message, answer.warnings)
        assert not drift.differs(desired, answer.body), answer.body["spec"]


def test_policies_keep_the_hosts_of_services(served: Cluster, namespace: str) -> None:
    may(served, namespace, "routes", rule("gateway.networking.k8s.io", "httproutes", "*"))
    path = HTTP_ROUTE.path(namespace)

    def attempt(parent: Json, *hosts: str, user: str = TENANT) -> Any:
        spec = {"parentRefs": [parent], **({"hostnames": list(hosts)} if hosts else {})}
        meta = {"generateName": "mine-", "namespace": namespace}
        body = {**HTTP_ROUTE.header, "metadata": meta, "spec": spec}
        return served.request("POST", path, body, user=user, dryRun="All")

    ours = {"name": "inference", "namespace": "gateway-system"}
    with in_force(served, namespace, gateway=VALUES):
        wait_until(lambda: attempt({"name": "mine"}).ok, "the tenant may write routes")
        wait_until(lambda: not attempt(ours).ok, "the policy is in force")
        for hosts in (["chat.team-b.llm.example.com"], ["www.example.com", "*.example.com"], []):
            answer = attempt(ours, *hosts)
            assert answer.status in (403, 422) and "reserve" in answer.message, answer.message
        for parent, hosts in (
            (ours, ["www.example.com"]),
            ({"name": "mine"}, ["a.llm.example.com"]),
            ({"name": "mine"}, []),
        ):
            answer = attempt(parent, *hosts)
            assert answer.ok, answer.message
        assert attempt(ours, "a.llm.example.com", user="").ok, "administrators are exempt"


def test_the_operators_token_makes_routes_and_pools_of_its_services_alone(served: Cluster, namespace: str) -> None:
    service = served.create(namespace, _service(namespace)).body["metadata"]
    platform = Platform(
        gateway_api=GatewayAPI(
            (ParentRef("inference", "gateway-system"),), domain="llm.example.com", endpoint_picker=PICKER
        )
    )
    owner = Owner("chat", namespace, service["uid"])
    route, pool = gateway_api.make_http_route(owner, platform), gateway_api.make_inference_pool(owner, platform)
    assert route is not None and pool is not None
    with in_force(served, namespace, gateway=VALUES) as user:
        _grant(served, namespace, user)

        def attempt(obj: Json, **spec: Any) -> Any:
            kind = HTTP_ROUTE if obj is route else INFERENCE_POOL
            where = kind.path(namespace, obj["metadata"]["name"])
            body = {**obj, "spec": {**obj["spec"], **spec}}
            query = {"fieldManager": "llmservice-operator", "force": "true", "dryRun": "All"}
            return served.request("PATCH", where, body, content_type=APPLY, user=user, **query)

        def is_refused(obj: Json, says: str, **spec: Any) -> bool:
            answer = attempt(obj, **spec)
            return not answer.ok and says in answer.message

        for obj in (route, pool):  # the API server has to know the service first
            wait_until(lambda obj=obj: attempt(obj).ok, f"the {obj['kind']} is allowed")  # type: ignore[misc]
        wrong: list[tuple[Json, Json]] = [
            (route, {"parentRefs": [{"name": "web", "namespace": "gateway-system"}]}),
            (route, {"hostnames": ["www.example.com"]}),
            (route, {"rules": [{"backendRefs": [{"name": "payments", "port": 80}]}]}),
            (pool, {"selector": {"matchLabels": {"app": "payments"}}}),
            (pool, {"endpointPickerRef": {"name": "mine", "port": {"number": 9002}}}),
        ]
        for obj, change in wrong:
            says = f"the operator makes {obj['kind']}s"
            wait_until(
                lambda obj=obj, says=says, change=change: is_refused(obj, says, **change), f"{change} is refused"
            )  # type: ignore[misc]
        assert all(attempt(obj).ok for obj in (route, pool))


def _hosts_that_others_set_are_set_back(cluster: Cluster, route: str, namespace: str) -> None:
    others = {"spec": {"hostnames": ["www.example.com"]}}
    assert cluster.request("PATCH", route, others, content_type=MERGE, fieldManager="kubectl-edit").ok
    own = [f"chat.{namespace}.llm.example.com"]
    wait_until(lambda: cluster.request("GET", route).body["spec"]["hostnames"] == own, "the host is set back")


def _service(namespace: str) -> Json:
    made = a_service("chat", namespace).from_source("hf://org/model-1B", COMMIT).with_spec(scheduling=NOWHERE).build()
    return {**made, "metadata": {"name": "chat"}}


def _grant(cluster: Cluster, namespace: str, user: str) -> None:
    binding = {
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    assert cluster.request("POST", path, binding).ok
