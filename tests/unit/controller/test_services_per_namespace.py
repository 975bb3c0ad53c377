"""Of each namespace the oldest services are served, up to a number; the others say so and take nearly no memory."""

import random
from typing import Any

import pytest

from llmservice_operator.controller.informer import store as cache_module
from llmservice_operator.controller.informer.service_order import ServiceOrder
from llmservice_operator.controller.informer.store import Cache
from unit.controller.conftest import KEY, Shell

MOST = 3


def service(number: int, namespace: str = "team-a", version: int = 1, created: int | None = None) -> dict[str, Any]:
    """The one that was made as the ``number``-th."""
    at = number if created is None else created
    meta = {
        "namespace": namespace,
        "name": f"s{number}",
        "uid": f"u{number:05}",
        "creationTimestamp": f"2026-11-30T00:{at // 60:02}:{at % 60:02}Z",
        "resourceVersion": str(version),
        "annotations": {"llmservice.dev/refresh": "a"},
    }
    spec = {"model": {"source": "hf://org/name"}}
    return {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": meta, "spec": spec}


def key(number: int, namespace: str = "team-a") -> tuple[str, str]:
    return namespace, f"s{number}"


def whole(cache: Cache, namespace: str = "team-a") -> set[str]:
    inside = [each for each in cache.of_kind("LLMService") if each["metadata"]["namespace"] == namespace]
    return {each["metadata"]["name"] for each in inside if each["spec"]}


@pytest.mark.parametrize("seed", range(5))
def test_the_oldest_are_served_in_whatever_order_they_come_and_go(seed: int) -> None:
    rng = random.Random(seed)
    order, there = ServiceOrder(MOST), set[int]()
    served: set[tuple[str, str]] = set()
    for _ in range(300):
        number = rng.randrange(10)
        if number in there:
            there.remove(number)
            changed = order.remove(key(number))
        else:
            there.add(number)
            changed = order.add(service(number))
        now = {key(each) for each in sorted(there)[:MOST]}
        assert {each for each in map(key, there) if not order.exceeds(each)} == now
        assert changed == (served ^ now) - {key(number)}
        served = now


def test_of_those_made_in_the_same_second_always_the_same_are_served() -> None:
    first, second = ServiceOrder(MOST), ServiceOrder(MOST)
    for number in range(6):
        first.add(service(number, created=0))
        second.add(service(5 - number, created=0))
    assert [first.exceeds(key(each)) for each in range(6)] == [second.exceeds(key(each)) for each in range(6)]


def test_without_a_number_all_are_served() -> None:
    order = ServiceOrder()
    for number in range(100):
        assert order.add(service(number)) == set()
    assert not any(order.exceeds(key(each)) for each in range(100))


def test_of_those_beyond_it_nothing_is_kept_but_which_they_are() -> None:
    cache = Cache(most_services=MOST)
    for number in reversed(range(6)):
        cache.put(service(number))
    cache.put(service(9, "team-b"))
    assert whole(cache) == {"s0", "s1", "s2"}
    assert whole(cache, "team-b") == {"s9"}
    assert "annotations" not in (cache.service(key(5)) or {})["metadata"]
    assert len(cache.services()) == 7


def test_the_next_oldest_is_looked_at_once_one_is_gone_and_read_whole() -> None:
    cache = Cache(most_services=MOST)
    for number in range(5):
        cache.put(service(number))
    assert cache.remove(service(1, version=2)) == {key(1), key(3)}
    assert cache.is_reduced(key(3)) and not cache.order.exceeds(key(3))
    assert cache.put(service(3)) == {key(3)}, "the same version, whole"
    assert whole(cache) == {"s0", "s2", "s3"}
    assert cache.put(service(3)) == set()


def older() -> dict[str, Any]:
    return {**service(0), "metadata": {**service(0)["metadata"], "name": "older", "uid": "!", "creationTimestamp": ""}}


async def test_its_status_says_so_and_what_runs_stays(shell: Shell) -> None:
    await shell.settle()
    shell.cache.order.most = 1
    shell.see(older())
    plans, writes = len(shell.observed), list(shell.api.writes)
    assert await shell.look() is None
    accepted = shell.condition("Accepted")
    assert (accepted["status"], accepted["reason"], accepted["observedGeneration"]) == ("False", "TooManyServices", 1)
    for word in ("team-a", "more than 1 LLMServices"):
        assert word in accepted["message"]
    assert shell.condition("Ready")["status"] == "True", "it ran before"
    assert shell.condition("Stalled")["status"] == "True"
    found = shell.api.get("LLMService", *KEY)
    assert found and "servicesPerNamespace" in found["status"]["findings"][0]["fix"]
    reported = len(shell.api.writes)
    assert reported == len(writes) + 1
    await shell.look()
    assert (len(shell.observed), len(shell.api.writes)) == (plans, reported), (
        "nothing is planned, nothing written twice"
    )
    assert shell.api.get("ConfigMap", "team-a", "chat-env")


async def test_once_there_is_room_it_is_planned_with_its_whole_spec(shell: Shell) -> None:
    shell.cache.order.most = 1
    shell.see(older())
    await shell.look()
    assert not shell.observed
    assert shell.condition("Ready")["reason"] == "TooManyServices"
    gone = older()
    gone["metadata"]["resourceVersion"] = "1000000"
    assert KEY in shell.cache.remove(gone)
    await shell.settle()
    assert shell.observed[-1].service["spec"]["model"]["source"] == "hf://a/b"
    assert shell.condition("Ready")["status"] == "True"
    assert not shell.condition("Accepted"), "conditions are the plan's again"


async def test_one_that_is_being_deleted_is_left_alone(shell: Shell) -> None:
    shell.cache.order.most = 1
    shell.see(older())
    seen = shell.cache.service(KEY)
    assert seen
    seen["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    before = len(shell.api.writes)
    await shell.look()
    assert len(shell.api.writes) == before


async def test_one_whose_namespace_has_too_much_says_so_and_is_not_planned(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shell.settle()
    plans = len(shell.observed)
    monkeypatch.setattr(cache_module, "NAMESPACE_BYTES", 10)
    found = shell.api.get("LLMService", *KEY)
    assert found
    found["metadata"]["resourceVersion"] = "1000000"
    shell.see(shell.api.put(found))
    assert shell.cache.is_reduced(KEY)
    await shell.look()
    assert len(shell.observed) == plans
    assert shell.condition("Accepted")["reason"] == "TooManyServices"
    assert "more data" in shell.condition("Accepted")["message"]
    assert shell.condition("Ready")["status"] == "True", "it ran before"
    monkeypatch.undo()
    await shell.settle()
    assert len(shell.observed) > plans
    assert shell.observed[-1].service["spec"]["model"]["source"] == "hf://a/b"
