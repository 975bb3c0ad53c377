"""Services behind Traefik by the Gateway API: Traefik reads the operator's HTTPRoutes from the real API server, carries
requests by them, and its reports are shown. An endpoint picker reads the InferencePools.

The replicas are the runtime's own server without a model, on this machine; an EndpointSlice of the test has their
addresses, because pods would need images.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.services import COMMIT, a_service
from llmservice_contract.container import HTTP_PORT
from llmservice_operator.resources.kinds import ENDPOINT_SLICE, HTTP_ROUTE
from support.aggregation import NODE_ADDRESS, ensure_fake_nodes
from support.cluster import APPLY, MERGE, ROOT, START_SECONDS, Cluster, connect, wait_until
from support.gateway_api import crds, endpoint_picker, every_crd, picked
from support.gateway_server import EVENT_SECONDS
from support.operator import operator
from support.ports import free_port
from support.serving import Serving
from support.traefik import gateway_controller
from support.web import answers, host

pytestmark = pytest.mark.timeout(1800)

Json = dict[str, Any]
GATEWAY_API = HTTP_ROUTE.api_version
DOMAIN = "llm.example.com"
CLASSES, ROUTED, OTHERS = "llmservice.dev/test", "llmservice.dev/routed", "closed"
NOWHERE = {"nodeSelector": {"llmservice.dev/test": "no-such-node"}}
LONG_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Place:
    """A Gateway with two listeners, and two namespaces of teams whose routes the first listener takes."""

    cluster: Cluster
    gateways: str
    teams: tuple[str, str]
    port: int
    log: Path

    def settings(self, listener: str = "web", **more: Any) -> dict[str, str]:
        """Of an operator with routes at a listener of this Gateway."""
        parent = {"name": "inference", "namespace": self.gateways, "sectionName": listener}
        return {"LLMSERVICE_GATEWAY_API": json.dumps({"parentRefs": [parent], **more})}

    def create(self, namespace: str, name: str) -> Serving:
        """A service without pods, which serves nothing yet."""
        service = a_service(name).from_source("hf://org/model-1B", COMMIT).with_spec(scheduling=NOWHERE).build()
        made = self.cluster.create(namespace, service)
        assert made.ok, made.message
        return Serving(self.cluster, namespace)

    def serve(self, namespace: str, name: str, port: int) -> None:
        """The only ready endpoint of a service is the replica at this port."""
        body = {
            **ENDPOINT_SLICE.header,
            "metadata": {
                "name": f"{name}-replica",
                "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "test"},
            },
            "addressType": "IPv6" if ":" in NODE_ADDRESS else "IPv4",
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        }
        path = ENDPOINT_SLICE.path(namespace, f"{name}-replica")
        answer = self.cluster.request("PATCH", path, body, content_type=APPLY, fieldManager="test")
        assert answer.ok, answer.message

    def connection(self) -> http.client.HTTPConnection:
        """To the listener that services are served at."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG_SECONDS)

    def ask(self, at: str, path: str = "/v1/chat/completions", **body: Any) -> tuple[int, str]:
        """Status, and which replica answers."""
        with contextlib.closing(self.connection()) as connection:
            asked = json.dumps({"model": "m", "messages": [], "max_tokens": 1, **body})
            connection.request("POST", path, asked, {"Host": at, "Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
        if response.status != 200:
            return response.status, text
        return 200, str(json.loads(text)["choices"][0]["message"]["content"])

    def until(self, answer: tuple[int, str], at: str, path: str = "/v1/chat/completions") -> None:
        """Waits until that is answered."""
        try:
            wait_until(lambda: self.ask(at, path) == answer, f"{at}{path} answers {answer}", timeout=START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}, but {self.ask(at, path)}\n{self.log.read_text()[-3000:]}") from None


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """The cluster of $KUBECONFIG or of `make cluster-up`; the CRD of this working tree is in force."""
    found = connect()
    found.apply_crd()
    return found


@pytest.fixture(scope="module")
def place(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    label, port, closed = secrets.token_hex(4), free_port(), free_port()
    with contextlib.ExitStack() as stack:
        stack.enter_context(crds(cluster, *every_crd()))
        gateways, one, other = (
            stack.enter_context(cluster.namespace(each)) for each in ("gateways", "team-a", "team-b")
        )
        for team in (one, other):
            labels = {"metadata": {"labels": {ROUTED: "yes"}}}
            assert cluster.request("PATCH", f"/api/v1/namespaces/{team}", labels, content_type=MERGE).ok
        routed = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {ROUTED: "yes"}}}}
        listeners = [
            {"name": "web", "port": port, "protocol": "HTTP", "allowedRoutes": routed},
            {"name": OTHERS, "port": closed, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}},
        ]
        root = f"/apis/{GATEWAY_API}"
        for path, obj in (
            (
                f"{root}/gatewayclasses",
                {
                    "apiVersion": GATEWAY_API,
                    "kind": "GatewayClass",
                    "metadata": {"name": f"traefik-{label}", "labels": {CLASSES: label}},
                    "spec": {"controllerName": "traefik.io/gateway-controller"},
                },
            ),
            (
                f"{root}/namespaces/{gateways}/gateways",
                {
                    "apiVersion": GATEWAY_API,
                    "kind": "Gateway",
                    "metadata": {"name": "inference"},
                    "spec": {"gatewayClassName": f"traefik-{label}", "listeners": listeners},
                },
            ),
        ):
            made = cluster.request("POST", path, obj)
            assert made.ok, made.message
        log = stack.enter_context(
            gateway_controller(
                tmp_path_factory.mktemp("traefik"),
                cluster.kubeconfig,
                {"web": port, OTHERS: closed},
                [gateways, one, other],
                f"{CLASSES}={label}",
            )
        )
        yield Place(cluster, gateways, (one, other), port, log)


@contextlib.contextmanager
def replica(directory: Path) -> Iterator[int]:
    """The port of one without a model. It answers with its port."""
    port = free_port()
    script = [sys.executable, "-P", ROOT / "tests" / "support" / "gateway_server.py"]
    arguments = [str(each) for each in (port, 1, LONG_SECONDS, NODE_ADDRESS)]
    with (directory / f"replica-{port}.log").open("wb") as log:
        environment = {"PYTHONPATH": str(ROOT / "runtime")}
        process = subprocess.Popen([*script, *arguments], env=environment, stdout=log, stderr=log)
    try:
        url = f"http://{host(NODE_ADDRESS)}:{port}/health"
        wait_until(lambda: answers(url), "the replica answers", timeout=START_SECONDS)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(replica(tmp_path)) for _ in range(2)]


@pytest.fixture(autouse=True)
def no_services(place: Place) -> Iterator[None]:
    """Each test makes its services."""
    yield
    for team in place.teams:
        for each in Serving(place.cluster, team).list("LLMService"):
            Serving(place.cluster, team).delete("LLMService", each["metadata"]["name"])
        wait_until(
            lambda team=team: not Serving(place.cluster, team).list("HTTPRoute"),
            "its routes are gone",
            timeout=START_SECONDS,
        )  # type: ignore[misc]
        slices = ENDPOINT_SLICE.path(team)
        place.cluster.request("DELETE", slices, labelSelector="endpointslice.kubernetes.io/managed-by=test")


def test_each_service_is_served_at_its_host(place: Place, replicas: list[int]) -> None:
    with operator(place.cluster.kubeconfig, place.teams, place.settings(domain=DOMAIN)):
        for team, port in zip(place.teams, replicas, strict=True):
            serving = place.create(team, "chat")
            place.serve(team, "chat", port)
            said = serving.wait_for("chat", "Routed", "True", "Routed", timeout=START_SECONDS)
            assert f"chat.{team}.{DOMAIN}" in said["message"]
        for team, port in zip(place.teams, replicas, strict=True):
            place.until((200, str(port)), f"chat.{team}.{DOMAIN}")
        for at in (DOMAIN, f"{place.teams[0]}.{DOMAIN}", f"other.{place.teams[0]}.{DOMAIN}", "www.example.com"):
            assert place.ask(at)[0] == 404, at
        assert place.cluster.request("DELETE", place.cluster.services(place.teams[1], "chat")).ok
        place.until((404, "404 page not found\n"), f"chat.{place.teams[1]}.{DOMAIN}")
        assert place.ask(f"chat.{place.teams[0]}.{DOMAIN}") == (200, str(replicas[0]))


def test_each_service_is_served_below_its_path(place: Place, replicas: list[int]) -> None:
    hosts = [DOMAIN, "llm.internal"]
    with operator(place.cluster.kubeconfig, place.teams, place.settings(hostnames=hosts)):
        paths = [f"/namespaces/{team}/services/chat" for team in place.teams]
        for team, port, path in zip(place.teams, replicas, paths, strict=True):
            serving = place.create(team, "chat")
            place.serve(team, "chat", port)
            said = serving.wait_for("chat", "Routed", "True", "Routed", timeout=START_SECONDS)
            assert f"{DOMAIN}{path}" in said["message"]
        for at in hosts:
            for port, path in zip(replicas, paths, strict=True):
                place.until((200, str(port)), at, f"{path}/v1/chat/completions")
                # The replica compares paths letter for letter: what is not taken away, or doubled, is no path of it.
                assert place.ask(at, f"{path}/v1/none")[0] == 404
        for path in ("/v1/chat/completions", f"{paths[0]}2/v1/chat/completions", f"{paths[0]}v1/chat/completions"):
            assert place.ask(DOMAIN, path)[0] == 404, path
        assert place.ask("www.example.com", f"{paths[0]}/v1/chat/completions")[0] == 404


def test_requests_follow_the_endpoints_and_streams_pass_event_by_event(place: Place, replicas: list[int]) -> None:
    team, count = place.teams[0], 10
    at = f"chat.{team}.{DOMAIN}"
    with operator(place.cluster.kubeconfig, place.teams, place.settings(domain=DOMAIN)):
        place.create(team, "chat")
        for port in replicas:
            place.serve(team, "chat", port)
            place.until((200, str(port)), at)
        body = json.dumps({"model": "m", "messages": [], "max_tokens": count, "stream": True})
        with contextlib.closing(place.connection()) as connection:
            connection.request("POST", "/v1/chat/completions", body, {"Host": at, "Content-Type": "application/json"})
            response = connection.getresponse()
            begun, parts = time.monotonic(), 0
            while response.read1(65_536):
                parts += 1
            took = time.monotonic() - begun
    assert response.status == 200 and parts >= count
    # Kept back, all of them would come with the last one.
    assert took > EVENT_SECONDS * (count - 2)


def test_what_the_gateway_objects_to_is_shown(place: Place, replicas: list[int]) -> None:
    """A listener that takes no routes of the namespace, and an InferencePool, which Traefik does not know."""
    team = place.teams[0]
    place.create(team, "chat")
    place.serve(team, "chat", replicas[0])
    serving, at = Serving(place.cluster, team), f"chat.{team}.{DOMAIN}"
    with operator(place.cluster.kubeconfig, place.teams, place.settings(OTHERS, domain=DOMAIN)):
        said = serving.wait_for("chat", "Routed", "False", "RouteNotAccepted", timeout=START_SECONDS)
        assert "NotAllowedByListeners" in said["message"]
    picked = place.settings(domain=DOMAIN, endpointPicker={"name": "{service}-epp"})
    with operator(place.cluster.kubeconfig, place.teams, picked):
        said = serving.wait_for("chat", "Routed", "False", "BackendNotResolved", timeout=START_SECONDS)
        assert "InvalidKind" in said["message"]
        assert serving.get("InferencePool", "chat") is not None
        assert place.ask(at)[0] == 500
    with operator(place.cluster.kubeconfig, place.teams, place.settings(domain=DOMAIN)):
        serving.wait_for("chat", "Routed", "True", "Routed", timeout=START_SECONDS)
        place.until((200, str(replicas[0])), at)
        assert serving.get("InferencePool", "chat") is None


def test_an_endpoint_picker_chooses_among_the_ready_pods_of_its_service(place: Place, tmp_path: Path) -> None:
    """The inference extension's own, with the pool that the operator makes. Pods run on a node that kwok plays."""
    ensure_fake_nodes(place.cluster, 1)
    team = place.teams[0]
    serving = Serving(place.cluster, team)
    there = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]}
    settings = place.settings(domain=DOMAIN, endpointPicker={"name": "{service}-epp"})
    with (
        operator(place.cluster.kubeconfig, [team], settings),
        endpoint_picker(tmp_path, place.cluster.kubeconfig, team, "chat") as address,
    ):
        for name, replicas in (("chat", 2), ("code", 1)):
            service = a_service(name).from_source("hf://org/model-1B", COMMIT).with_replicas(replicas)
            made = place.cluster.create(team, service.with_spec(scheduling=there).build())
            assert made.ok, made.message
            serving.wait_for(name, "Ready", "True", timeout=START_SECONDS)

        def endpoints() -> set[str]:
            return {f"{pod['status']['podIP']}:{HTTP_PORT}" for pod in serving.pods("chat")}

        both = endpoints()
        assert len(both) == 2
        found: set[str] = set()

        def all_picked() -> bool:
            found.add(picked(address))
            return both <= found

        wait_until(all_picked, "the picker chooses each pod", timeout=START_SECONDS)
        assert found - {""} == both
        scaled = {"spec": {"replicas": 1}}
        assert place.cluster.request("PATCH", place.cluster.services(team, "chat"), scaled, content_type=MERGE).ok
        wait_until(lambda: len(serving.pods("chat")) == 1, "one pod is left", timeout=START_SECONDS)
        (rest,) = endpoints()
        wait_until(lambda: {picked(address) for _ in range(3)} == {rest}, "the picker chooses it", START_SECONDS)
