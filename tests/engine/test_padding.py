"""Prompts that vLLM pads to its longest input: the engine computes all of them, and limits count them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from llmservice_contract.policy import Policy, RateLimit
from support.access import AccessFiles
from support.engine import Engine, make_chat_model

LENGTH = 256
LIMIT = 3 * LENGTH
"""Tokens per minute of each key."""


class Pooling:
    """An engine that answers with vectors, and asks for keys."""

    def __init__(self, engine: Engine, keys: list[str]) -> None:
        self.engine = engine
        self.keys = keys

    def embed(self, key: str, texts: list[str], **options: Any) -> tuple[int, dict[str, Any]]:
        """Status and answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.engine.port}/v1/embeddings",
            json.dumps({"model": "tiny", "input": texts, **options}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def pooling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooling]:
    directory = tmp_path_factory.mktemp("pooling")
    tiers = {"default": RateLimit(tokens_per_minute=LIMIT)}
    access = AccessFiles(directory, Policy(require_keys=True, tiers=tiers))
    keys = [access.make_key() for _ in range(2)]
    settings = {
        "ENGINE_RUNNER": "pooling",
        "ENGINE_CONVERT": "embed",
        "MODEL_MAX_CONTEXT_LENGTH": str(LENGTH),
        **access.environ,
    }
    with Engine(directory, make_chat_model(directory / "chat"), **settings) as engine:
        engine.wait_until_ready()
        yield Pooling(engine, keys)


def test_vllm_counts_the_padding_as_part_of_the_prompt(pooling: Pooling) -> None:
    key = pooling.keys[0]
    plain = pooling.embed(key, ["The weather"])[1]["usage"]["prompt_tokens"]
    status, found = pooling.embed(key, ["The weather"], padding="max_length")
    assert status == 200
    assert plain < found["usage"]["prompt_tokens"] == LENGTH


def test_limits_reserve_what_is_computed(pooling: Pooling) -> None:
    key = pooling.keys[1]
    status, refused = pooling.embed(key, ["a"] * 4, padding="max_length")
    assert status == 429, refused
    assert str(LIMIT) in refused["error"]["message"]
    assert pooling.embed(key, ["a"] * 3, padding="max_length")[0] == 200
    assert pooling.embed(key, ["a"])[0] == 429, "all tokens of this minute were used"
