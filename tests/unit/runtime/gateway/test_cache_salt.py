"""Prefix caches of a key's own: no client can send the salt of another key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from llmservice_contract.policy import PrefixCache
from llmservice_runtime.gateway.cache_salt import _CACHELESS, _WITHOUT_FIELD
from llmservice_runtime.gateway.routes import ROUTES, Access

VLLM_LONGEST = 128
VLLM_FORBIDDEN = set("@/\\\0")
"""What vLLM 0.32 takes for a salt: entrypoints/generate/base/protocol.py."""
COMPLETIONS = "/v1/completions"


async def salt_of(house: Any, sent: Any = None, key: str = "", path: str = COMPLETIONS) -> Any:
    """What the application gets in the end, however often the field is there."""
    body = json.dumps({"prompt": "a"} if sent is None else {"prompt": "a", "cache_salt": sent}).encode()
    reply = await house.ask("POST", path, body, key=key, headers=[(b"content-length", b"%d" % len(body))])
    assert reply.status == 200
    (length,) = (value for name, value in house.app.scopes[-1]["headers"] if name == b"content-length")
    assert int(length) == len(house.app.bodies[-1])
    return json.loads(house.app.bodies[-1]).get("cache_salt")


@pytest.fixture
def apart(house: Any) -> Any:
    house.policy = replace(house.policy, prefix_cache=PrefixCache.PER_KEY)
    return house


async def test_by_default_nothing_is_put_in(house: Any) -> None:
    assert await salt_of(house) is None
    assert await salt_of(house, "mine") == "mine"


async def test_each_key_has_a_salt_that_vllm_takes_and_that_stays(apart: Any) -> None:
    salts = [await salt_of(apart, key=key) for key in (apart.client_key, apart.premium_key, apart.client_key)]
    assert salts[0] == salts[2] != salts[1]
    for salt in salts:
        assert isinstance(salt, str) and 32 <= len(salt) <= VLLM_LONGEST and not VLLM_FORBIDDEN & set(salt)
        assert apart.client_key not in salt


async def test_a_clients_own_salt_parts_its_own_cache_and_reaches_no_others(apart: Any) -> None:
    others = await salt_of(apart, key=apart.premium_key)
    own = [await salt_of(apart, sent) for sent in (None, "", "a", "b", others, 1, ["a"], {"a": 1})]
    assert len(set(own)) == len(own) and others not in own


async def test_each_kind_of_work_has_one_or_is_refused(apart: Any) -> None:
    for row, route in ROUTES.items():
        method, path = row.split(" ")
        if route.access is not Access.CLIENT or method != "POST" or not route.kind.is_json or "{" in path:
            continue
        if path in _WITHOUT_FIELD:
            reply = await apart.ask("POST", path, {})
            assert (reply.status, reply.error["code"]) == (403, "prefix_cache")
        else:
            assert (await salt_of(apart, path=path) is not None) == (route.kind not in _CACHELESS)
