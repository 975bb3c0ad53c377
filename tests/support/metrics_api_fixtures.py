"""A metrics API on a fake API server."""

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp.test_utils import TestServer, unused_port
from kubernetes.aio import client

from llmservice_operator.config.scaling import ScalingSettings
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.metrics_api.api import MetricsAPI
from support.fake_api import Answer, FakeAPI, Request
from support.metrics_api import Authority, Caller, Numbers

FRONT_PROXY = "front-proxy-client"
SERVICE = "llmservice-operator-metrics-api"
OPERATORS = "llmservice-system"
"""The operator's namespace."""
READER = "reader"
"""A user who may read, in team-a alone."""
AUTOSCALER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
"""A user who may read everywhere."""
_USER = {"user": {"username": READER, "groups": ["g"]}}
TOKENS: dict[str, dict[str, Any]] = {
    "readers-token": {"authenticated": True, **_USER},
    "refused-token": {"authenticated": False, **_USER},
    "unsure-token": _USER,
    "broken-token": {"authenticated": True, "error": "the webhook failed", **_USER},
    "nobodys-token": {"authenticated": True, "user": {}},
}
"""What reviews say of tokens."""


class ReviewingAPI(FakeAPI):
    """Knows the tokens of TOKENS and what READER and AUTOSCALER may. All who are authenticated may look around."""

    def __init__(self) -> None:
        super().__init__()
        self.reviews: list[dict[str, Any]] = []

    def _create(self, request: Request) -> Answer:
        self.reviews.append(request.body)
        spec = request.body["spec"]
        if request.kind == "TokenReview":
            return 201, {"status": TOKENS.get(spec["token"], {})}
        resource = spec.get("resourceAttributes")
        if resource:
            reading = {"verb": "list", "group": "external.metrics.k8s.io"}.items() <= resource.items()
            there = {AUTOSCALER: True, READER: resource["namespace"] == "team-a"}.get(spec["user"], False)
            allowed = reading and there
        else:
            allowed = "system:authenticated" in spec["groups"] or "system:masters" in spec["groups"]
        return 201, {"status": {"allowed": allowed}}

    def asked(self, kind: str) -> list[dict[str, Any]]:
        """What reviews of a kind were about."""
        return [each["spec"] for each in self.reviews if each["kind"] == kind]


def authentication_config(authority: str, *names: str) -> dict[str, Any]:
    """The ConfigMap of whom the front proxy is known by."""
    data = {
        "requestheader-client-ca-file": authority,
        "requestheader-allowed-names": json.dumps(names),
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
    meta = {"namespace": "kube-system", "name": "extension-apiserver-authentication"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def api_service(namespace: str = OPERATORS, name: str = SERVICE) -> dict[str, Any]:
    """The APIService as the chart brings it."""
    service = {"namespace": namespace, "name": name, "port": 443}
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {"service": service, "group": "external.metrics.k8s.io", "version": "v1beta1"},
        "status": {"conditions": [{"type": "Available", "status": "True"}]},
    }


def metrics_service() -> dict[str, Any]:
    """The Service as the chart brings it."""
    meta = {"namespace": OPERATORS, "name": SERVICE}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"ports": [{"name": "https", "port": 443}]},
    }


@dataclasses.dataclass
class Served:
    """A metrics API that runs."""

    api: ReviewingAPI
    metrics: MetricsAPI
    numbers: Numbers
    authority: Authority
    """The front proxy's."""
    caller: Caller
    port: int

    def proxied(self, user: str, *groups: str) -> dict[str, Any]:
        """How the front proxy asks for a user: arguments of ``Caller.get``."""
        headers = [("X-Remote-User", user), *(("X-Remote-Group", group) for group in groups)]
        return {"headers": headers, "certificate": self.authority.client(FRONT_PROXY)}


@contextlib.asynccontextmanager
async def serving(*, endpoints: bool = False) -> AsyncIterator[Served]:
    """Everything in place, with a load of 187.5 for the service team-a/chat."""
    api, authority = ReviewingAPI(), Authority("front proxy")
    api.put(authentication_config(authority.pem, FRONT_PROXY))
    api.put(api_service())
    api.put(metrics_service())
    server = TestServer(api.app())
    await server.start_server()
    connection = client.ApiClient(client.Configuration(host=str(server.make_url("")).rstrip("/")))
    numbers = Numbers({("team-a", "chat"): 187_500, ("team-b", "chat"): 1_000})
    port = unused_port()
    settings = ScalingSettings(
        adapter="own", api_port=port, api_service=SERVICE, pod_ip="10.1.2.3", api_endpoints=endpoints
    )
    metrics = MetricsAPI(Cluster(connection), settings, OPERATORS, numbers)
    await metrics.start()
    try:
        yield Served(api, metrics, numbers, authority, Caller("127.0.0.1", port), port)
    finally:
        await metrics.stop()
        await connection.close()
        await server.close()
    assert not api.unexpected
