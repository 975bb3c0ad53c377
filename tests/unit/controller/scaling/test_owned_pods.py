"""Whose series count: pods of the StatefulSet that the service owns, and those that were a short while ago."""

from typing import Any

import pytest

from llmservice_operator.controller.informer.store import Cache
from llmservice_operator.controller.scaling.owned_pods import KEPT_SECONDS, MOST_GONE, OwnPods

KEY = ("team-a", "chat")
LABELS = {"app.kubernetes.io/instance": "chat", "app.kubernetes.io/managed-by": "llmservice-operator"}


class World:
    """One service with its StatefulSet, and pods that a test makes."""

    def __init__(self) -> None:
        self.cache, self.version = Cache(), 0
        self.own = OwnPods(self.cache)
        self.put("LLMService", "chat", "uid-chat")
        self.statefulset()

    def put(self, kind: str, name: str, uid: str, owner: str = "", **more: Any) -> dict[str, Any]:
        self.version += 1
        meta: dict[str, Any] = {"namespace": "team-a", "name": name, "uid": uid, "resourceVersion": str(self.version)}
        if kind != "LLMService":
            meta["labels"] = LABELS
        if owner:
            meta["ownerReferences"] = [{"uid": owner, "controller": True, "kind": "Any", "name": "any"}]
        obj = {"kind": kind, "metadata": meta, **more}
        self.cache.put(obj)
        return obj

    def statefulset(self, owner: str = "uid-chat") -> None:
        self.put("StatefulSet", "chat", "uid-sts", owner)

    def pod(self, name: str, *addresses: str, owner: str = "uid-sts") -> dict[str, Any]:
        status = {"podIPs": [{"ip": each} for each in addresses]}
        return self.put("Pod", name, f"uid-{name}", owner, status=status)

    def remove(self, obj: dict[str, Any]) -> None:
        self.version += 1
        meta = {**obj["metadata"], "resourceVersion": str(self.version)}
        self.cache.remove({**obj, "metadata": meta})


@pytest.fixture
def world() -> World:
    return World()


def test_pods_of_the_services_statefulset_are_its_own_with_their_addresses(world: World) -> None:
    world.pod("chat-0", "10.0.0.1", "fd00:0::1")
    world.pod("chat-1")
    assert world.own.known(0.0) == {KEY: {"chat-0": {"10.0.0.1", "fd00::1"}, "chat-1": frozenset()}}


@pytest.mark.parametrize("owner", ["", "uid-of-another"])
def test_a_pod_with_our_labels_that_the_statefulset_does_not_control_is_none(world: World, owner: str) -> None:
    world.pod("chat-9", "10.0.0.9", owner=owner)
    assert world.own.known(0.0) == {KEY: {}}


@pytest.mark.parametrize("owner", ["", "uid-of-another"])
def test_pods_of_a_statefulset_that_is_not_the_services_are_none(world: World, owner: str) -> None:
    world.statefulset(owner)
    world.pod("chat-0", "10.0.0.1")
    assert world.own.known(0.0) == {KEY: {}}


def test_a_pod_that_cannot_be_read_hides_its_own_service_alone(world: World) -> None:
    world.put("LLMService", "good", "uid-good")
    world.put("Pod", "chat-0", "uid-pod", "uid-sts", status={"podIPs": ["10.0.0.1"]})
    assert world.own.known(0.0) == {KEY: {}, ("team-a", "good"): {}}


def test_a_pod_that_went_is_remembered_as_long_as_prometheus_may_tell_of_it(world: World) -> None:
    gone = world.pod("chat-1", "10.0.0.2")
    world.pod("chat-0", "10.0.0.1")
    world.own.known(0.0)
    world.remove(gone)
    assert world.own.known(KEPT_SECONDS)[KEY] == {"chat-0": {"10.0.0.1"}, "chat-1": {"10.0.0.2"}}
    assert world.own.known(KEPT_SECONDS + 1)[KEY] == {"chat-0": {"10.0.0.1"}}


def test_a_pod_that_was_made_anew_has_both_addresses_for_a_while(world: World) -> None:
    world.pod("chat-0", "10.0.0.1")
    world.own.known(0.0)
    world.pod("chat-0", "10.0.0.2")
    assert world.own.known(15.0)[KEY] == {"chat-0": {"10.0.0.1", "10.0.0.2"}}
    assert world.own.known(KEPT_SECONDS + 1)[KEY] == {"chat-0": {"10.0.0.2"}}


def test_a_service_that_went_is_forgotten(world: World) -> None:
    world.pod("chat-0", "10.0.0.1")
    world.own.known(0.0)
    service = world.cache.service(KEY)
    assert service is not None
    world.remove(service)
    assert world.own.known(1.0) == {}
    world.put("LLMService", "chat", "uid-another")
    assert world.own.known(2.0) == {KEY: {}}


def test_what_is_remembered_is_bounded_and_what_is_there_stays(world: World) -> None:
    world.pod("chat-0", "10.0.0.1")
    for number in range(2 * MOST_GONE):
        world.remove(world.pod("chat-1", f"10.1.{number // 250}.{number % 250}"))
        world.pod("chat-1", f"10.1.{number // 250}.{number % 250}")
        found = world.own.known(number / 1000)[KEY]
    assert found["chat-0"] == {"10.0.0.1"}
    assert len(found["chat-1"]) <= MOST_GONE
