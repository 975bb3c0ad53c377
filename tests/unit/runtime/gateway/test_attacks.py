"""One client that sends what costs much: it is refused early, holds little, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace

from llmservice_contract.policy import DEFAULT_TIERS, Policy
from llmservice_runtime.gateway import middleware
from llmservice_runtime.gateway.files import Watched, Watcher
from llmservice_runtime.gateway.middleware import (
    OTHER_AT_ONCE,
    OTHER_BODY_BYTES,
    OTHER_BURST,
    REFUSED_BURST_BYTES,
    REFUSED_BYTES_PER_SECOND,
)
from llmservice_runtime.gateway.routes import Access, Kind, Route, find_route
from llmservice_runtime.rate_limits.limiter import Denial, LimitState
from llmservice_runtime.rate_limits.memory import MemoryLimiter

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

COMPLETIONS = "/v1/completions"
CANCEL = "/v1/made-up/cancel"
BODY = {"prompt": "12345678", "max_tokens": 10}
MIB = 1024 * 1024


class Unread(list[dict[str, Any]]):
    """Messages of a client; it fails if one is taken."""

    def pop(self, *_: Any) -> Any:
        raise AssertionError("the body was read")

    def __bool__(self) -> bool:
        return True


def part(size: int) -> list[dict[str, Any]]:
    """The first part of a body that never ends."""
    return [{"type": "http.request", "body": b" " * size, "more_body": True}]


async def test_unfinished_bodies_of_one_key_take_a_third_of_the_memory_and_no_more(house: Any) -> None:
    house.caps(body_bytes=8 * MIB, buffered_bytes=64 * MIB)
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(house.ask("POST", COMPLETIONS, messages=part(7 * MIB))) for _ in range(20)]
        await asyncio.sleep(1)
        assert house.pipeline._bodies.held == 21 * MIB
        assert (await house.ask("POST", COMPLETIONS, BODY, key=house.premium_key)).status == 200
    statuses = [each.result().status for each in held]
    assert (statuses.count(429), statuses.count(408)) == (17, 3)
    assert house.pipeline._bodies.held == 0
    assert ("buffered_bytes", "default") in house.meter.rejections


async def test_other_routes_take_small_bodies_few_at_once_and_not_too_often(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No such route has a body today; one that comes later is bounded from its first day.
    other = Route(Access.CLIENT, Kind.OTHER, CANCEL)
    monkeypatch.setattr(middleware, "find_route", lambda scope: other if scope["path"] == CANCEL else find_route(scope))
    reply = await house.ask("POST", CANCEL, b" " * (OTHER_BODY_BYTES + 1))
    assert (reply.status, reply.error["code"]) == (413, "body_bytes")
    assert (await house.ask("POST", CANCEL, b" " * OTHER_BODY_BYTES)).status == 200
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(house.ask("POST", CANCEL, messages=part(1))) for _ in range(OTHER_AT_ONCE + 5)]
    statuses = [each.result().status for each in asked]
    assert (statuses.count(408), statuses.count(429)) == (OTHER_AT_ONCE, 5)
    replies = [await house.ask("GET", "/v1/models") for _ in range(OTHER_BURST + 10)]
    assert [each.status for each in replies].count(429) >= 5
    assert replies[-1].error["code"] == "other_requests"
    assert (await house.ask("GET", "/v1/models", key=house.premium_key)).status == 200
    await asyncio.sleep(10)
    assert (await house.ask("GET", "/v1/models")).status == 200


async def test_an_admin_may_send_large_bodies_to_other_routes(house: Any) -> None:
    assert (await house.ask("POST", "/invocations", b" " * MIB, key=house.admin_key)).status == 200


async def test_a_key_without_requests_left_is_refused_before_its_body_is_read(house: Any) -> None:
    house.policy = Policy(require_keys=True, tiers=DEFAULT_TIERS)
    loop = asyncio.get_running_loop()
    house.with_parts(limiter=MemoryLimiter(loop.time))
    for _ in range(60):
        assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 429
    refused = await house.ask("POST", COMPLETIONS, messages=Unread())
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert "retry-after" in refused.headers and refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert (await house.ask("POST", COMPLETIONS, BODY, key=house.premium_key)).status == 200
    await asyncio.sleep(61)
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200


async def test_a_key_whose_large_requests_are_refused_again_and_again_is_not_read_any_more(house: Any) -> None:
    large = json.dumps({"prompt": "a" * 7 * MIB, "n": 99}).encode()
    for _ in range(REFUSED_BURST_BYTES // len(large) + 1):
        assert (await house.ask("POST", COMPLETIONS, large)).error["code"] == "n"
    refused = await house.ask("POST", COMPLETIONS, messages=Unread())
    assert (refused.status, refused.error["code"]) == (429, "refused_bytes")
    assert (await house.ask("POST", COMPLETIONS, BODY, key=house.premium_key)).status == 200
    await asyncio.sleep(len(large) / REFUSED_BYTES_PER_SECOND)
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200


async def test_small_requests_that_are_refused_keep_no_other_out(house: Any) -> None:
    for _ in range(1000):
        assert (await house.ask("POST", COMPLETIONS, BODY | {"n": 99})).status == 400
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200


async def test_what_never_fits_speaks_for_no_other_request(house: Any) -> None:
    house.limiter.denial = Denial(LimitState(2, 0, 60.0), 60, "requests", hopeless=True)
    assert (await house.ask("POST", COMPLETIONS, {"prompt": ["a"] * 3})).status == 429
    house.limiter.denial = None
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200


async def test_all_keys_together_have_so_many_places(house: Any) -> None:
    house.caps(concurrency_per_replica=3, concurrency=2)
    async with asyncio.TaskGroup() as group:
        for key in (house.client_key, house.client_key, house.premium_key):
            group.create_task(house.ask("POST", COMPLETIONS, messages=part(1), key=key))
        await asyncio.sleep(1)
        refused = await house.ask("POST", COMPLETIONS, BODY, key=house.premium_key)
        assert (refused.status, refused.error["code"]) == (503, "concurrency_per_replica")
        assert (await house.ask("POST", COMPLETIONS, BODY)).status == 429
    assert (await house.ask("POST", COMPLETIONS, BODY, key=house.premium_key)).status == 200


async def test_without_keys_all_clients_share_the_places_of_the_replica(house: Any) -> None:
    house.policy = Policy(caps=replace(house.policy.caps, concurrency=1, concurrency_per_replica=2))
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(house.ask("POST", COMPLETIONS, messages=part(1), key=None))
        await asyncio.sleep(1)
        assert (await house.ask("POST", COMPLETIONS, BODY, key=None)).status == 503


async def test_many_small_values_are_refused_by_the_cap(house: Any) -> None:
    body = b'{"messages":[' + b"{}," * MIB + b"{}]}"
    reply = await house.ask("POST", "/v1/chat/completions", body)
    assert (reply.status, reply.error["code"]) == (400, "objects")
    assert "16384 objects (spec.access.caps.objects)" in reply.error["message"]


async def test_headers_are_looked_at_before_the_key_in_them(house: Any) -> None:
    reply = await house.ask("POST", COMPLETIONS, BODY, key="A" * 40_000)
    assert (reply.status, reply.error["code"]) == (431, "header_bytes")


async def test_keys_that_cannot_be_read_for_long_open_nothing(house: Any, tmp_path: Any) -> None:
    """Else a key that was revoked meanwhile would go on to be valid."""
    now = 0.0
    keys = Watched(tmp_path, lambda: True, vital=True)
    house.with_parts(files=Watcher([keys], lambda _text: None, every=3600, now=lambda: now))
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200
    now = 3600.0
    reply = await house.ask("POST", COMPLETIONS, BODY)
    assert (reply.status, reply.error["code"]) == (503, "keys_unreadable")
    house.pipeline._parts.files.look()
    assert (await house.ask("POST", COMPLETIONS, BODY)).status == 200
    house.pipeline._parts.files.stop()
