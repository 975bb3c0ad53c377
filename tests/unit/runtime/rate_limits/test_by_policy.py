"""Which rate limits hold under which policy, and what becomes of requests while the store is away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmservice_contract.policy import OnFailure, Policy, RateLimit, Store
from llmservice_runtime.rate_limits.by_policy import PolicyLimiter
from llmservice_runtime.rate_limits.limiter import Ask, Denial, Grant, LimitState, StoreUnavailable

LIMIT = RateLimit(1, 100)
TIERS = {"default": LIMIT}
ASK = Ask("a", LIMIT, 1, 10)


class Shared:
    """Stands for the limits of one store."""

    def __init__(self, store: Store, credentials: Path | None) -> None:
        self.store = store
        self.credentials = credentials
        self.away = False
        self.closed = False
        self.charges: list[tuple[int, int]] = []

    async def reserve(self, ask: Ask) -> Grant | Denial:
        if self.away:
            raise StoreUnavailable("it is away")
        return Grant(ask, LimitState(1, 0, 60.0), 7, shared=True)

    def charge(self, grant: Grant, used: int, held: int) -> None:
        self.charges.append((used, held))

    async def aclose(self) -> None:
        self.closed = True


class Service:
    """A limiter, the policy that it follows, and what it has connected to."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.stores: list[Shared] = []
        self.failures = 0
        self.limiter = PolicyLimiter(lambda: self.policy, Path("login"), self._failed, connect=self._connect)

    def _failed(self) -> None:
        self.failures += 1

    def _connect(self, store: Store, credentials: Path | None) -> Shared:
        self.stores.append(Shared(store, credentials))
        return self.stores[-1]


def store(address: str = "redis:6379", on_failure: OnFailure = OnFailure.OPEN) -> Store:
    return Store(address, on_failure=on_failure)


@pytest.mark.parametrize(
    ("policy", "limit"), [(Policy(), LIMIT), (Policy(tiers=TIERS, store=store()), RateLimit())], ids=["tiers", "limit"]
)
async def test_without_tiers_or_without_a_limit_nothing_is_counted(policy: Policy, limit: RateLimit) -> None:
    service = Service(policy)
    for _ in range(3):
        grant = await service.limiter.reserve(Ask("a", limit, 1, 10**9))
        assert isinstance(grant, Grant) and grant.standing == LimitState()
        service.limiter.charge(grant, 5, 0)


async def test_without_a_store_the_replica_counts() -> None:
    service = Service(Policy(tiers=TIERS))
    assert isinstance(await service.limiter.reserve(ASK), Grant)
    assert isinstance(await service.limiter.reserve(ASK), Denial)
    assert service.stores == []


async def test_with_a_store_it_counts_and_charges_there() -> None:
    service = Service(Policy(tiers=TIERS, store=store()))
    grant = await service.limiter.reserve(ASK)
    assert isinstance(grant, Grant) and grant.shared
    service.limiter.charge(grant, 4, 1)
    [shared] = service.stores
    assert (shared.charges, shared.credentials) == ([(4, 1)], Path("login"))


async def test_open_the_replica_counts_while_the_store_is_away() -> None:
    service = Service(Policy(tiers=TIERS, store=store()))
    await service.limiter.reserve(ASK)
    service.stores[0].away = True
    grant = await service.limiter.reserve(ASK)
    assert isinstance(grant, Grant) and not grant.shared
    assert isinstance(await service.limiter.reserve(ASK), Denial)
    assert service.failures == 2
    service.limiter.charge(grant, 0, 0)
    assert service.stores[0].charges == []
    service.stores[0].away = False
    again = await service.limiter.reserve(ASK)
    assert isinstance(again, Grant) and again.shared


async def test_closed_requests_are_refused_while_the_store_is_away() -> None:
    service = Service(Policy(tiers=TIERS, store=store(on_failure=OnFailure.CLOSED)))
    await service.limiter.reserve(ASK)
    service.stores[0].away = True
    with pytest.raises(StoreUnavailable, match="it is away"):
        await service.limiter.reserve(ASK)
    assert service.failures == 1


async def test_another_store_is_connected_to_and_the_old_one_left() -> None:
    service = Service(Policy(tiers=TIERS, store=store("one:6379")))
    await service.limiter.reserve(ASK)
    service.policy = Policy(tiers=TIERS, store=store("two:6379"))
    await service.limiter.reserve(ASK)
    service.policy = Policy(tiers=TIERS)
    assert isinstance(await service.limiter.reserve(ASK), Grant)
    await service.limiter.aclose()
    assert [(each.store.address, each.closed) for each in service.stores] == [("one:6379", True), ("two:6379", True)]


async def test_a_policy_that_changes_something_else_keeps_the_connections() -> None:
    service = Service(Policy(tiers=TIERS, store=store()))
    await service.limiter.reserve(ASK)
    service.policy = Policy(tiers={"default": RateLimit(9, 9)}, store=store(on_failure=OnFailure.CLOSED))
    await service.limiter.reserve(ASK)
    assert len(service.stores) == 1


def test_without_a_store_its_library_takes_no_memory() -> None:
    program = """
import sys
from llmservice_contract.policy import DEFAULT_TIERS, Policy, Store
from llmservice_runtime.rate_limits.by_policy import PolicyLimiter
PolicyLimiter(lambda: Policy(tiers=DEFAULT_TIERS), None, lambda: None)
assert "redis" not in sys.modules
PolicyLimiter(lambda: Policy(tiers=DEFAULT_TIERS, store=Store("redis:6379")), None, lambda: None)
assert "redis" in sys.modules, "the first request would wait for it"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
