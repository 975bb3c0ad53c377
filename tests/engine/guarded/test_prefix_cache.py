"""Whether one key finds in real vLLM's prefix cache what another has sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract.policy import Policy, PrefixCache
from support.cluster import wait_until
from support.guarded import CAPS, TIERS, Guarded

POLICY = Policy(require_keys=True, tiers=TIERS, caps=CAPS)
FIRST, SECOND = "client", "free"
PROMPT = "The quick brown fox jumps over the lazy dog and then it rests. "


@pytest.fixture
def apart(guarded: Guarded) -> Iterator[Guarded]:
    """The engine with a prefix cache for each key."""
    policy = guarded.engine.log.parent / "access.json"
    policy.write_text(replace(POLICY, prefix_cache=PrefixCache.PER_KEY).to_json())

    def refused() -> bool:
        return post(guarded, FIRST, "/v2/embed", {}).status_code == 403

    try:
        wait_until(refused, "prefix caches for each key")
        yield guarded
    finally:
        policy.write_text(POLICY.to_json())
        wait_until(lambda: not refused(), "one prefix cache")


def post(guarded: Guarded, key: str, path: str, body: dict[str, Any]) -> requests.Response:
    headers = {"Authorization": f"Bearer {guarded.keys[key]}"}
    return requests.post(guarded.url + path, json={"model": "tiny"} | body, headers=headers, timeout=120)


def hits(guarded: Guarded) -> float:
    """Tokens that were found."""
    pages = text_string_to_metric_families(guarded.engine.metrics())
    return sum(each.value for family in pages for each in family.samples if each.name == "vllm:prefix_cache_hits_total")


def found(guarded: Guarded, key: str, path: str, body: dict[str, Any]) -> bool:
    """Whether a part of the prompt was found."""
    before = hits(guarded)
    answer = post(guarded, key, path, body)
    assert answer.status_code == 200, answer.text
    return hits(guarded) > before


def bodies(mark: str) -> dict[str, dict[str, Any]]:
    """Requests of each route with new prompts."""
    text = (mark + " " + PROMPT) * 6
    turn = [{"role": "user", "content": text}]
    return {
        "/v1/completions": {"prompt": text, "max_tokens": 1},
        "/v1/chat/completions": {"messages": turn, "max_tokens": 1},
        "/v1/messages": {"messages": turn, "max_tokens": 1},
        "/v1/responses": {"input": text, "max_output_tokens": 1},
        "/v1/batch": {"prompts": [text], "max_tokens": 1},
    }


def test_by_default_one_key_finds_what_another_sent(guarded: Guarded) -> None:
    body = bodies("shared /v1/completions")["/v1/completions"]
    assert not found(guarded, FIRST, "/v1/completions", body)
    assert found(guarded, SECOND, "/v1/completions", body)


def test_each_key_finds_only_its_own(apart: Guarded) -> None:
    for path in bodies(""):
        marked = bodies(f"apart {path}")[path]
        assert not found(apart, FIRST, path, marked), path
        assert found(apart, FIRST, path, marked), path
        assert not found(apart, SECOND, path, marked), path
        assert not found(apart, SECOND, path, marked | {"cache_salt": "mine"}), path
        assert found(apart, SECOND, path, marked | {"cache_salt": "mine"}), path
