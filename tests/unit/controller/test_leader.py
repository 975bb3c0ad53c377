"""The Lease: who holds it and for how long, whatever the clock is set to. `tests/cluster` has the API server."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord

from llmservice_operator.controller import leader
from llmservice_operator.controller.leader import Leadership


class Store:
    """One Lease, as the API server has it; ``broken`` answers nothing."""

    def __init__(self) -> None:
        self.record: LeaderElectionRecord | None = None
        self.broken = False
        self.hangs = False
        self.writes = 0


class Lock:
    """What a Leadership sees of it."""

    def __init__(self, store: Store, identity: str) -> None:
        self.store, self.identity, self.name, self.namespace = store, identity, "llmservice-operator", "system"

    async def get(self, name: str, namespace: str) -> Any:
        if self.store.hangs:
            await asyncio.Event().wait()
        if self.store.broken:
            return False, ApiException(status=0, reason="no connection")
        if self.store.record is None:
            return False, ApiException(status=404, reason="Not Found")
        return True, LeaderElectionRecord(*vars(self.store.record).values())

    async def create(self, name: str, namespace: str, record: LeaderElectionRecord) -> bool:
        return await self.update(name, namespace, record)

    async def update(self, name: str, namespace: str, record: LeaderElectionRecord) -> bool:
        if self.store.broken:
            return False
        self.store.record = record
        self.store.writes += 1
        return True


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, seconds in (("LEASE_SECONDS", 0.6), ("RENEW_SECONDS", 0.3), ("RETRY_SECONDS", 0.01)):
        monkeypatch.setattr(leader, name, seconds)
    return Store()


def leadership(store: Store, identity: str, monkeypatch: pytest.MonkeyPatch) -> Leadership:
    made = Leadership(client.ApiClient(), name="llmservice-operator", namespace="system", identity=identity)
    monkeypatch.setattr(made, "_lock", Lock(store, identity))
    return made


async def until(condition: Callable[[], Any]) -> None:
    """Wait for it, at most 10 s."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 10
    while not condition():
        await asyncio.sleep(0.001)
        assert loop.time() < end


async def test_the_first_holds_it_and_renews_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = leadership(store, "first", monkeypatch)
    held = asyncio.create_task(first.hold())
    await until(lambda: store.writes > 3)
    assert first.acquired.is_set()
    assert store.record is not None
    assert store.record.holder_identity == "first"
    acquired = store.record.acquire_time
    await until(lambda: store.writes > 6)
    assert store.record.acquire_time == acquired
    assert not held.done()
    held.cancel()


@pytest.mark.parametrize("how", ["broken", "hangs"])
async def test_a_clock_that_is_set_back_extends_no_leadership(
    store: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    first = leadership(store, "first", monkeypatch)
    held = asyncio.create_task(first.hold())
    await until(lambda: store.writes)
    clock = time.time()
    ticks = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: clock - 3600 * next(ticks))
    setattr(store, how, True)
    async with asyncio.timeout(60):
        await held


async def test_a_clock_that_is_set_forward_takes_no_lease_from_one_who_holds_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = leadership(store, "first", monkeypatch), leadership(store, "second", monkeypatch)
    held = asyncio.create_task(first.hold())
    await until(first.acquired.is_set)
    waits = asyncio.create_task(second.hold())
    clock = time.time()
    ticks = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: clock + 3600 * next(ticks))
    writes = store.writes
    await until(lambda: store.writes > writes + 10)
    assert not held.done()
    assert not second.acquired.is_set()
    held.cancel()
    await until(second.acquired.is_set)
    waits.cancel()


async def test_who_sees_another_holder_ends_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "RENEW_SECONDS", 3600)
    first = leadership(store, "first", monkeypatch)
    held = asyncio.create_task(first.hold())
    await until(first.acquired.is_set)
    store.record = LeaderElectionRecord("another", "3600", "2026-01-01 00:00:00.0", "2026-01-01 00:00:00.0")
    async with asyncio.timeout(60):
        await held


async def test_a_lease_that_was_given_back_is_taken_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "LEASE_SECONDS", 3600)
    store.record = LeaderElectionRecord(None, "1", "2026-01-01 00:00:00.0", "2026-01-01 00:00:00.0")
    second = leadership(store, "second", monkeypatch)
    held = asyncio.create_task(second.hold())
    async with asyncio.timeout(60):
        await second.acquired.wait()
    held.cancel()
