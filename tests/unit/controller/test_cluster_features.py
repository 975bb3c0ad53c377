"""What an API server gets or loses while the operator runs is noticed without a restart."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from llmservice_operator.controller.client.errors import ApiError
from llmservice_operator.controller.cluster_features import RECHECK_SECONDS, ClusterFeatures
from llmservice_operator.controller.informer import streams as module
from llmservice_operator.controller.informer.store import Cache
from llmservice_operator.controller.informer.streams import Streams, WatchesEnded
from llmservice_operator.resources.kinds import (
    CATALOGUE,
    CLUSTER_LLM_MODEL,
    HTTP_ROUTE,
    INFERENCE_POOL,
    LLM_MODEL,
    RESOURCE_CLAIM_TEMPLATE,
    STATEFULSET,
)
from llmservice_operator.resources.platform import Adapter, GatewayAPI, Network, ParentRef, Platform
from support.fake_api import refusal
from unit.controller.conftest import Shell

TEMPLATE = {
    "apiVersion": RESOURCE_CLAIM_TEMPLATE.api_version,
    "kind": RESOURCE_CLAIM_TEMPLATE.kind,
    "metadata": {"namespace": "team-a", "name": "chat-devices", "uid": "u", "resourceVersion": "7"},
}
AUTOSCALER = "create HorizontalPodAutoscaler"


class Server:
    """The API server of the shell, with what a test switches."""

    def __init__(self, shell: Shell) -> None:
        self.lacks: set[str] = set()
        """Kinds that it does not have."""
        self.fails = False
        self.tolerance = False
        shell.api.faults.append(self._answer)
        self._shell = shell

    def _answer(self, call: str) -> Any:
        if self.fails:
            return refusal(503, "etcd is gone")
        if call.startswith("list ") and call.split()[1] in self.lacks:
            return refusal(404, "the server could not find the requested resource")
        if call.startswith(AUTOSCALER):
            kept = {"behavior": {"scaleUp": {"tolerance": "0"}}} if self.tolerance else {}
            return 201, {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": kept}
        return None

    def features(self, platform: Platform | None = None, *namespaces: str) -> ClusterFeatures:
        return ClusterFeatures(
            self._shell.cluster,
            platform or Platform(),
            namespaces=namespaces,
            own_namespace="team-a",
            environment={"KUBERNETES_SERVICE_HOST": "10.96.0.1"},
        )

    def endpoints(self, *addresses: str) -> None:
        self._shell.api.put(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"namespace": "default", "name": "kubernetes"},
                "endpoints": [{"addresses": list(addresses)}],
            }
        )


@pytest.fixture
def server(shell: Shell) -> Server:
    return Server(shell)


async def test_claims_of_devices_come_and_go_with_their_api(server: Server) -> None:
    server.lacks = {"ResourceClaimTemplate"}
    features = server.features()
    await features.read()
    assert RESOURCE_CLAIM_TEMPLATE not in features.watched() and STATEFULSET in features.watched()
    assert not features.platform().device_claims
    server.lacks = set()
    assert await features.read()
    assert RESOURCE_CLAIM_TEMPLATE in features.watched()
    assert features.platform().device_claims and features.device_claims()
    server.lacks = {"ResourceClaimTemplate"}
    assert await features.read()
    assert RESOURCE_CLAIM_TEMPLATE not in features.watched() and not features.device_claims()


async def test_routes_and_pools_of_gateways_come_and_go_with_their_crds(server: Server) -> None:
    gateways = GatewayAPI((ParentRef("inference"),), domain="llm.example.com")
    features = server.features(Platform(gateway_api=gateways))
    server.lacks = {"HTTPRoute", "InferencePool"}
    await features.read()
    assert not {HTTP_ROUTE, INFERENCE_POOL} & set(features.watched())
    assert not features.platform().http_routes and not features.platform().inference_pools
    server.lacks = {"InferencePool"}
    assert await features.read()
    assert HTTP_ROUTE in features.watched() and INFERENCE_POOL not in features.watched()
    assert features.platform().http_routes and not features.platform().inference_pools
    server.lacks = set()
    assert await features.read()
    assert INFERENCE_POOL in features.watched() and features.platform().inference_pools


async def test_without_gateways_their_kinds_are_not_asked_for(shell: Shell, server: Server) -> None:
    features = server.features()
    await features.read()
    assert not {HTTP_ROUTE, INFERENCE_POOL} & set(features.watched())
    assert not [call for call in shell.api.calls if "HTTPRoute" in call or "InferencePool" in call]


async def test_nothing_has_changed_if_the_api_server_fails(server: Server) -> None:
    features = server.features()
    await features.read()
    before = features.watched(), features.platform()
    server.fails = True
    with pytest.raises(ApiError):
        await features.read()
    assert (features.watched(), features.platform()) == before
    server.fails = False
    assert not await features.read()


async def test_capabilities_of_autoscalers_follow_an_upgrade(server: Server) -> None:
    features = server.features(Platform(adapter=Adapter.OWN))
    await features.read()
    assert not features.platform().tolerance_is_settable
    server.tolerance = True
    assert await features.read()
    assert features.platform().tolerance_is_settable and features.platform().scales_to_zero


async def test_capabilities_are_kept_if_they_can_no_longer_be_read(shell: Shell, server: Server) -> None:
    server.tolerance = True
    features = server.features(Platform(adapter=Adapter.OWN))
    await features.read()
    shell.api.faults.insert(0, lambda call: refusal(403, "exceeded quota") if call.startswith(AUTOSCALER) else None)
    assert not await features.read()
    assert features.platform().tolerance_is_settable


async def test_addresses_of_the_api_server_follow_its_machines(shell: Shell, server: Server) -> None:
    def known() -> tuple[str, ...]:
        network = features.platform().network
        assert network
        return network.api_server

    features = server.features(Platform(network=Network()))
    server.endpoints("172.18.0.2")
    await features.read()
    assert known() == ("10.96.0.1/32", "172.18.0.2/32")
    server.endpoints("172.18.0.3")
    assert await features.read()
    assert known() == ("10.96.0.1/32", "172.18.0.3/32")
    shell.api.faults.append(lambda call: refusal(403, "no") if call.startswith("get EndpointSlice") else None)
    assert not await features.read()
    assert known() == ("10.96.0.1/32", "172.18.0.3/32")


async def test_without_the_right_the_address_of_its_service_is_known(shell: Shell, server: Server) -> None:
    shell.api.faults.append(lambda call: refusal(403, "no") if call.startswith("get EndpointSlice") else None)
    features = server.features(Platform(network=Network()))
    await features.read()
    network = features.platform().network
    assert network and network.api_server == ("10.96.0.1/32",)


async def test_addresses_that_are_set_are_not_read(shell: Shell, server: Server) -> None:
    features = server.features(Platform(network=Network(api_server=("192.0.2.1/32",))))
    await features.read()
    assert not [call for call in shell.api.calls if "EndpointSlice" in call]


@pytest.mark.looptime
async def test_they_are_read_every_few_minutes_whatever_fails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    features = server.features()
    reads: list[float] = []
    outcomes = [True, ApiError("no"), False, True]

    async def read() -> bool:
        reads.append(asyncio.get_running_loop().time())
        outcome = outcomes.pop(0)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    monkeypatch.setattr(features, "read", read)
    changes: list[float] = []

    def changed() -> None:
        changes.append(reads[-1])
        if not outcomes:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await features.run(changed)
    assert changes == [reads[0], reads[3]]
    between = [later - earlier for earlier, later in zip((0.0, *reads), reads, strict=False)]
    assert all(RECHECK_SECONDS * 0.7 < each < RECHECK_SECONDS * 1.3 for each in between)


HANGS = "hangs"


@dataclasses.dataclass
class Framework:
    """In place of the watches: each time ends as a test says."""

    ends: list[Exception | str | None]
    """``HANGS``: it closes its session and does not return."""
    watched: asyncio.Queue[set[str]] = dataclasses.field(default_factory=asyncio.Queue)
    """The kinds of each time."""
    connections: list[Connection] = dataclasses.field(default_factory=list)

    async def stream(self, handlers: Any, *, watched: Any, namespaces: Any, stop: asyncio.Event) -> None:
        self.watched.put_nowait({kind.kind for kind in watched})
        end = self.ends.pop(0)
        if end == HANGS:
            self.connections[-1].closed = True
            await asyncio.Event().wait()
        elif isinstance(end, Exception):
            raise end
        await stop.wait()


class Connection:
    server, closed = "", False

    @property
    def api(self) -> Connection:
        return self

    session = api

    async def close(self) -> None:
        pass


def streams(features: ClusterFeatures, framework: Framework, monkeypatch: pytest.MonkeyPatch, cache: Cache) -> Streams:
    async def connect(*, streams: int) -> Connection:
        framework.connections.append(Connection())
        return framework.connections[-1]

    monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(module.watch, "registry", lambda *_, **__: None)
    monkeypatch.setattr(module.watch, "stream", framework.stream)
    return Streams(
        cache, lambda key: None, features=features, namespaces=(), on_listed=lambda: None, on_login=lambda: None
    )


async def test_watches_begin_again_with_the_kinds_that_are_there(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lacks = {"ResourceClaimTemplate"}
    features, framework, cache = server.features(), Framework([None, None]), Cache()
    await features.read()
    made = streams(features, framework, monkeypatch, cache)
    running = asyncio.create_task(made.run(made.restart_if_kinds_changed))
    before = await framework.watched.get()
    made.restart_if_kinds_changed()
    server.lacks = set()
    await features.read()
    made.restart_if_kinds_changed()
    assert await framework.watched.get() - before == {"ResourceClaimTemplate"}
    made.stop()
    await running


@pytest.mark.parametrize("end", [ValueError("404"), HANGS])
async def test_a_watch_that_ends_because_its_kind_is_gone_stops_nothing_else(
    server: Server, monkeypatch: pytest.MonkeyPatch, end: Exception | str
) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.01)
    features, framework, cache = server.features(), Framework([end, None]), Cache()
    await features.read()
    cache.put(TEMPLATE)
    made = streams(features, framework, monkeypatch, cache)
    server.lacks = {"ResourceClaimTemplate"}
    running = asyncio.create_task(made.run(made.restart_if_kinds_changed))
    before = await framework.watched.get()
    assert before - await framework.watched.get() == {"ResourceClaimTemplate"}
    assert not cache.of_kind("ResourceClaimTemplate")
    cache.put(TEMPLATE)
    assert cache.of_kind("ResourceClaimTemplate"), "the same version counts when the kind is served again"
    made.stop()
    await running


@pytest.mark.parametrize("fails", [False, True], ids=["all kinds are there", "the API server fails"])
@pytest.mark.parametrize("end", [ValueError("no"), HANGS])
async def test_any_other_end_of_the_watches_ends_the_process(
    server: Server, monkeypatch: pytest.MonkeyPatch, end: Exception | str, fails: bool
) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.01)
    features, framework = server.features(), Framework([end])
    await features.read()
    server.fails = fails
    with pytest.raises((ValueError, WatchesEnded)):
        await streams(features, framework, monkeypatch, Cache()).run(lambda: None)


async def test_the_catalogue_comes_with_its_kinds_and_with_the_right_to_read_them(shell: Shell, server: Server) -> None:
    server.lacks = {each.kind for each in CATALOGUE}
    features = server.features()
    await features.read()
    assert not set(CATALOGUE) & set(features.watched()) and not features.platform().catalogue_kinds
    server.lacks = set()
    shell.api.faults.append(lambda call: refusal(403, "no") if call.startswith("list ClusterLLMModel") else None)
    assert await features.read()
    assert LLM_MODEL in features.watched() and CLUSTER_LLM_MODEL not in features.watched()
    assert features.platform().catalogue_kinds == {"LLMModel"}


async def test_an_operator_of_some_namespaces_does_not_ask_for_models_of_the_cluster(
    shell: Shell, server: Server
) -> None:
    features = server.features(None, "team-a")
    await features.read()
    assert features.platform().catalogue_kinds == {"LLMModel"}
    assert not [call for call in shell.api.calls if "ClusterLLMModel" in call]
