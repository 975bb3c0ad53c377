"""A shell on a fake API server, with a plan that a test can set."""

import asyncio
import dataclasses
import datetime
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.cluster_capacity import Capacity
from llmservice_operator.controller.events import Events
from llmservice_operator.controller.informer.store import Cache
from llmservice_operator.controller.memory_estimates import Estimates
from llmservice_operator.controller.reconciler import Reconciler
from llmservice_operator.planner.model.observed import Object, Observed
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.resources.platform import Platform
from support.answering import Answering
from support.fake_api import FakeAPI

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
KEY = ("team-a", "chat")


@pytest.fixture(scope="module", autouse=True)
def no_authorities() -> Iterator[None]:
    """No test here trusts the authorities of this machine, and each client would read them all. Tests elsewhere in the
    same process may need them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", os.devnull)
        yield


def fresh_service(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "llmservice.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"namespace": "team-a", "name": "chat", "generation": 1},
        "spec": {"model": {"source": "hf://a/b"}, "replicas": 1, **spec},
    }


def config_map(service: Object, value: str = "1", name: str = "chat-env") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": "team-a",
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": "llmservice-operator",
                "app.kubernetes.io/instance": service["metadata"]["name"],
            },
            "annotations": {"llmservice.dev/applied": f"hash-{value}"},
            "ownerReferences": [
                {"kind": "LLMService", "name": "chat", "uid": service["metadata"]["uid"], "controller": True}
            ],
        },
        "data": {"value": value},
    }


def condition(kind: str, status: str, reason: str = "Fine", message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def one_config_map(observed: Observed) -> Plan:
    """One child that says what the service wants, and a Ready condition."""
    return Plan(objects=[config_map(observed.service)], status={"conditions": [condition("Ready", "True")]})


@dataclasses.dataclass
class Shell:
    """Everything from the cache to the fake API server."""

    api: FakeAPI
    cluster: Cluster
    cache: Cache
    reconciler: Reconciler
    plan: Callable[[Observed], Plan] = one_config_map
    cpu: list[float] = dataclasses.field(default_factory=list)
    """CPU seconds of the plans to come; those after them take none."""
    answerer: Answering = dataclasses.field(default_factory=Answering)
    """Who works memory estimates out."""
    answered: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """Services whose estimate has come late."""
    observed: list[Observed] = dataclasses.field(default_factory=list)

    async def look(self) -> float | None:
        """One look at the service."""
        return await self.reconciler.reconcile(KEY)

    async def settle(self) -> None:
        """Look until a look writes nothing; fails if that takes more than five."""
        for _ in range(5):
            before = len(self.api.writes)
            await self.look()
            if len(self.api.writes) == before:
                return
        raise AssertionError(f"no silence: {self.api.writes}")

    def see(self, obj: dict[str, Any]) -> None:
        """A watch event of an object."""
        self.cache.put(obj)

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition of the service as the API server has it."""
        service = self.api.get("LLMService", *KEY)
        assert service
        conditions = service.get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})


def contains(desired: Any, actual: Any) -> bool:
    if isinstance(desired, dict):
        return isinstance(actual, dict) and all(contains(value, actual.get(key)) for key, value in desired.items())
    return bool(desired == actual)


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    """A service that is known to the shell, with nothing done yet. An unexpected call fails the test."""
    api = FakeAPI()
    server = TestServer(api.app())
    await server.start_server()
    connection = client.ApiClient(client.Configuration(host=str(server.make_url("")).rstrip("/")))
    cluster, cache = Cluster(connection), Cache()

    clock = [0.0]

    def plan(observed: Observed) -> Plan:
        made.observed.append(observed)
        clock[0] += made.cpu.pop(0) if made.cpu else 0.0
        return made.plan(observed)

    answerer, answered = Answering(), list[tuple[str, str]]()
    estimates = Estimates(answerer, answered.append)
    estimating = asyncio.create_task(estimates.run())
    reconciler = Reconciler(
        cluster=cluster,
        cache=cache,
        capacity=Capacity(cluster),
        events=Events(cluster, "test", lambda: NOW),
        estimates=estimates,
        platform=Platform,
        plan=plan,
        differs=lambda desired, actual: not contains(desired, actual),
        now=lambda: NOW,
        cpu=lambda: clock[0],
    )
    made = Shell(api, cluster, cache, reconciler, answerer=answerer, answered=answered)
    made.see(api.put(fresh_service()))
    yield made
    estimating.cancel()
    await connection.close()
    await server.close()
    assert not api.unexpected
