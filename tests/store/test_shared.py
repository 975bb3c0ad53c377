"""Limits that replicas share through a real Redis: one count for all, and no request waits for a Redis that fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from llmservice_contract.policy import OnFailure, Policy, RateLimit, Store
from llmservice_runtime.rate_limits.by_policy import PolicyLimiter
from llmservice_runtime.rate_limits.limiter import Ask, Denial, Grant, StoreUnavailable
from llmservice_runtime.rate_limits.shared import SharedLimiter
from support.authority import Authority
from support.ports import free_port
from support.redis_server import RedisServer

LIMIT = RateLimit(1000, 1_000_000)
ASK = Ask("a", LIMIT, 1, 100)
PATIENT = 30.0
RIGHTS = ["+eval", "+evalsha", "+time", "+hmget", "+hget", "+hset", "+hdel", "+del", "+pexpire"]

Connect = Callable[..., SharedLimiter]


@pytest.fixture
async def connect(redis: RedisServer) -> AsyncIterator[Connect]:
    """Makes limiters of that Redis, as replicas would; without more words they wait long for a busy machine."""
    made: list[SharedLimiter] = []

    def make(
        prefix: str = "",
        seconds: float = PATIENT,
        address: str = redis.address,
        tls: bool = False,
        credentials: Path | None = None,
    ) -> SharedLimiter:
        made.append(SharedLimiter(Store(address, tls, prefix), credentials, batch_seconds=seconds))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


async def granted(limiter: SharedLimiter, ask: Ask = ASK) -> Grant:
    answer = await limiter.reserve(ask)
    assert isinstance(answer, Grant), answer
    return answer


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENT):
        while not await condition():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.02)


async def answers(limiter: SharedLimiter) -> bool:
    try:
        return isinstance(await limiter.reserve(ASK), Grant)
    except StoreUnavailable:
        return False


async def test_three_replicas_together_let_exactly_the_limit_of_requests_pass(connect: Connect) -> None:
    replicas = [connect() for _ in range(3)]
    results = await asyncio.gather(*(replica.reserve(ASK) for _ in range(500) for replica in replicas))
    assert sum(isinstance(each, Grant) for each in results) == 1000
    assert all(each.what == "requests" for each in results if isinstance(each, Denial))


async def test_three_replicas_together_use_the_tokens_up_and_no_more(connect: Connect) -> None:
    replicas = [connect() for _ in range(3)]
    limit = RateLimit(None, 100_000)
    used = 0

    async def client(replica: SharedLimiter, number: int) -> None:
        """Each request takes less than it has reserved."""
        nonlocal used
        while isinstance(grant := await replica.reserve(Ask("a", limit, 1, 300)), Grant):
            tokens = 100 + 7 * number
            replica.charge(grant, tokens, 0)
            used += tokens
            await asyncio.sleep(0)

    await asyncio.gather(*(client(replica, number) for number in range(5) for replica in replicas))
    assert 99_000 <= used <= 100_000


async def test_keys_and_prefixes_count_apart(connect: Connect, redis: RedisServer) -> None:
    ask = Ask("a", RateLimit(1, None), 1, 5)
    await granted(connect("team-a:"), ask)
    await granted(connect("team-b:"), ask)
    await granted(connect("team-a:"), Ask("b", RateLimit(1, None), 1, 5))
    assert isinstance(await connect("team-a:").reserve(ask), Denial)
    assert sorted(redis.ask("KEYS", "*")) == ["team-a:rate:a", "team-a:rate:b", "team-b:rate:a"]


async def test_a_charge_waits_for_nothing_and_arrives(connect: Connect, redis: RedisServer) -> None:
    limiter = connect()
    grant = await granted(limiter)
    redis.hang()
    limiter.charge(grant, 10, 20)
    limiter.charge(grant, 10, 10)
    limiter.charge(grant, 10, 0)
    redis.go_on()

    async def arrived() -> bool:
        return redis.ask("HGET", "rate:a", "tokens") == "30"

    await until(arrived)


async def test_what_a_store_missed_is_charged_with_the_next_charge(connect: Connect, redis: RedisServer) -> None:
    limiter = connect(seconds=0.25)
    await until(lambda: answers(limiter))
    grant = await granted(limiter, Ask("b", LIMIT, 1, 100))
    redis.hang()
    limiter.charge(grant, 70, 30)

    async def missed() -> bool:
        return not grant.is_sending

    await until(missed)
    limiter.charge(grant, 7, 23)
    assert grant.owed == 77, "nothing is sent while the store is away, and nothing is lost"
    redis.go_on()
    await until(lambda: answers(limiter))
    limiter.charge(grant, 0, 0)

    async def arrived() -> bool:
        return redis.ask("HGET", "rate:b", "tokens") == "77"

    await until(arrived)


async def test_a_store_that_is_away_says_of_no_key_that_it_is_above_its_limit(
    connect: Connect, redis: RedisServer
) -> None:
    limiter = connect(seconds=0.25)
    await until(lambda: answers(limiter))
    grant = await granted(limiter, Ask("b", RateLimit(None, 200), 1, 100))
    limiter.charge(grant, 150, 100)

    async def reported() -> bool:
        return not grant.is_sending

    await until(reported)
    assert grant.exceeded
    redis.hang()
    limiter.charge(grant, 0, 100)
    await until(reported)
    assert not grant.exceeded
    redis.go_on()


async def test_tokens_of_a_client_that_leaves_meanwhile_are_given_back(connect: Connect, redis: RedisServer) -> None:
    limiter = connect()
    await granted(limiter)
    redis.hang()
    leaves = asyncio.create_task(limiter.reserve(ASK))
    for _ in range(100):  # turns of the event loop in which the ask is sent
        await asyncio.sleep(0)
    leaves.cancel()
    redis.go_on()

    async def given_back() -> bool:
        return redis.ask("HMGET", "rate:a", "requests", "tokens") == ["2", "100"]

    await until(given_back)


async def test_a_lost_script_is_sent_again(connect: Connect, redis: RedisServer) -> None:
    limiter = connect()
    await granted(limiter)
    redis.ask("SCRIPT", "FLUSH")
    redis.ask("FLUSHALL")
    results = await asyncio.gather(*(limiter.reserve(ASK) for _ in range(50)))
    assert sorted(each.standing.remaining_requests or 0 for each in results) == list(range(950, 1000))


async def test_a_killed_redis_fails_at_once_and_is_found_again(connect: Connect, redis: RedisServer) -> None:
    limiter = connect(seconds=0.25)
    await until(lambda: answers(limiter))
    redis.kill()
    with pytest.raises(StoreUnavailable):
        await limiter.reserve(ASK)
    redis.start()
    await until(lambda: answers(limiter))


async def test_a_redis_that_hangs_holds_up_one_ask_for_a_moment(connect: Connect, redis: RedisServer) -> None:
    limiter = connect(seconds=0.25)
    await until(lambda: answers(limiter))
    redis.hang()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="in time"):
        await limiter.reserve(ASK)
    # Three seconds are for a busy machine; without a limit it would be for ever.
    assert time.monotonic() - began < 0.25 + 3
    for _ in range(1000):
        with pytest.raises(StoreUnavailable):
            limiter.reserve(ASK).send(None)  # type: ignore[attr-defined]
    redis.go_on()
    await until(lambda: answers(limiter))


async def test_a_host_that_takes_no_connection_is_given_up_in_time(connect: Connect) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        for _ in range(4):  # fill the backlog; what comes after gets no answer
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        limiter = connect(seconds=0.25, address=f"127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(StoreUnavailable, match="in time"):
            await limiter.reserve(ASK)


@pytest.mark.parametrize("address", ["redis", "redis:", ":6379", "redis:port", "no-such-host.invalid:6379"])
async def test_an_address_that_leads_nowhere_is_an_unavailable_store(connect: Connect, address: str) -> None:
    with pytest.raises(StoreUnavailable):
        await connect(address=address).reserve(ASK)


async def test_a_refused_login_is_an_unavailable_store_until_the_files_are_right(
    connect: Connect, redis: RedisServer, tmp_path: Path
) -> None:
    redis.ask("ACL", "SETUSER", "tenant", "on", ">right", "~tenant:*", *RIGHTS)
    redis.ask("ACL", "SETUSER", "default", "nopass", "-eval", "-evalsha")
    (tmp_path / "username").write_text("tenant\n")
    (tmp_path / "password").write_text("wrong\n")
    (tmp_path / "address").write_text(f"{redis.address}\n")
    limiter = connect("tenant:", credentials=tmp_path)
    with pytest.raises(StoreUnavailable, match="password") as caught:
        await limiter.reserve(ASK)
    assert "wrong\n" not in str(caught.value) and "tenant" not in str(caught.value)
    (tmp_path / "password").write_text("right\n")
    await until(lambda: answers(limiter))


@pytest.mark.parametrize("named", [None, "", "other:6379", "127.0.0.1", "{address}0"])
async def test_a_login_is_not_sent_to_a_store_that_its_secret_does_not_name(
    connect: Connect, redis: RedisServer, tmp_path: Path, named: str | None
) -> None:
    redis.ask("ACL", "SETUSER", "tenant", "on", ">right", "~tenant:*", *RIGHTS)
    (tmp_path / "username").write_text("tenant")
    (tmp_path / "password").write_text("right")
    if named is not None:
        (tmp_path / "address").write_text(named.format(address=redis.address))
    limiter = connect("tenant:", credentials=tmp_path)
    with pytest.raises(StoreUnavailable, match="address"):
        await limiter.reserve(ASK)
    (tmp_path / "address").write_text(f"other:6379 {redis.address}")
    await until(lambda: answers(limiter))


async def test_a_user_may_touch_no_other_prefix(connect: Connect, redis: RedisServer, tmp_path: Path) -> None:
    redis.ask("ACL", "SETUSER", "tenant", "on", ">right", "~tenant:*", *RIGHTS)
    (tmp_path / "username").write_text("tenant")
    (tmp_path / "password").write_text("right")
    (tmp_path / "address").write_text(redis.address)
    with pytest.raises(StoreUnavailable):
        await connect("other:", credentials=tmp_path).reserve(ASK)


async def test_over_tls_only_a_store_of_the_given_authority_is_asked(connect: Connect, tmp_path: Path) -> None:
    authority = Authority("store")
    certificate, key = authority.issue(tmp_path, "server", ["127.0.0.1"])
    trusted = authority.write(tmp_path, "of-the-store.crt")
    options = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
    login = tmp_path / "login"
    login.mkdir()
    with RedisServer(tmp_path / "tls", *map(str, options), tls=True) as server:
        limiter = connect(address=server.address, tls=True, credentials=login)
        with pytest.raises(StoreUnavailable, match="certificate"):
            await limiter.reserve(ASK)
        (login / "ca.crt").write_bytes(trusted.read_bytes())
        await until(lambda: answers(limiter))


async def test_in_a_cluster_each_key_counts_where_it_belongs(connect: Connect, tmp_path: Path) -> None:
    bus = [free_port(), free_port()]
    one, two = (
        RedisServer(tmp_path / str(port), "--cluster-enabled", "yes", "--cluster-port", str(port)) for port in bus
    )
    with one, two:
        one.ask("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        two.ask("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        one.ask("CLUSTER", "MEET", "127.0.0.1", two.port, bus[1])

        async def joined() -> bool:
            return all("cluster_state:ok" in str(each.ask("CLUSTER", "INFO")) for each in (one, two))

        await until(joined)
        replicas = [connect(address=one.address), connect(address=two.address)]
        asks = [Ask(f"key{number}", RateLimit(1, None), 1, 0) for number in range(20)]
        first = await asyncio.gather(*(replicas[0].reserve(ask) for ask in asks))
        again = await asyncio.gather(*(replicas[1].reserve(ask) for ask in asks))
        assert all(isinstance(each, Grant) for each in first) and all(isinstance(each, Denial) for each in again)
        sizes = [one.ask("DBSIZE"), two.ask("DBSIZE")]
        assert sum(map(int, map(str, sizes))) == 20 and 0 not in sizes


async def test_the_policy_says_what_holds_while_the_redis_is_away(redis: RedisServer) -> None:
    failures: list[None] = []
    tiers = {"default": RateLimit(1, None)}
    ask = Ask("a", tiers["default"], 1, 0)
    policy = Policy(tiers=tiers, store=Store(redis.address))
    limiter = PolicyLimiter(lambda: policy, None, lambda: failures.append(None))
    assert isinstance(await limiter.reserve(ask), Grant)
    redis.kill()
    assert [type(await limiter.reserve(ask)) for _ in range(2)] == [Grant, Denial]
    assert len(failures) == 2
    policy = Policy(tiers=tiers, store=Store(redis.address, on_failure=OnFailure.CLOSED))
    with pytest.raises(StoreUnavailable):
        await limiter.reserve(ask)
    await limiter.aclose()


async def test_a_store_that_the_policy_has_left_keeps_no_connection(redis: RedisServer, tmp_path: Path) -> None:
    tiers = {"default": LIMIT}
    policy = Policy(tiers=tiers, store=Store(redis.address))
    limiter = PolicyLimiter(lambda: policy, None, lambda: None)
    assert isinstance(await limiter.reserve(ASK), Grant)

    async def clients() -> int:
        return len(str(redis.ask("CLIENT", "LIST")).splitlines()) - 1

    assert await clients() == 1
    with RedisServer(tmp_path / "other") as other:
        policy = Policy(tiers=tiers, store=Store(other.address))
        assert isinstance(await limiter.reserve(ASK), Grant)

        async def left() -> bool:
            return await clients() == 0

        await until(left)
        await limiter.aclose()
