"""What real vLLM's answers are charged: its own count, whatever the route and the form of the answer."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract.metrics import TOKENS
from support.cluster import wait_until
from support.guarded import Guarded

PATIENCE_SECONDS = 300
TURN = [{"role": "user", "content": "The quick brown fox"}]
MOST_TOKENS = 64
"""The cap of an answer."""
LONG_TEXT = "x" * 4000
ASKS: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "The quick brown fox", "max_tokens": 8, "ignore_eos": True},
    "/v1/chat/completions": {"messages": TURN, "max_tokens": 8, "ignore_eos": True, "user": LONG_TEXT},
    "/v1/messages": {"messages": TURN, "max_tokens": 8},
    "/v1/responses": {
        "input": "The quick brown fox",
        "max_output_tokens": 8,
        "ignore_eos": True,
        "user": LONG_TEXT,
        "metadata": {"usage": '"usage":{"input_tokens":0,"output_tokens":0}'},
    },
}


def charged(guarded: Guarded) -> float:
    """Tokens of all keys until now."""
    families = text_string_to_metric_families(guarded.engine.metrics())
    return sum(each.value for family in families for each in family.samples if each.name == TOKENS)


def charged_since(guarded: Guarded, before: float) -> float:
    """Tokens of the request that has just ended: its last byte may come before its charge."""
    return wait_until(lambda: charged(guarded) - before, "a charge")


def ask(guarded: Guarded, path: str, **more: Any) -> requests.Response:
    body = {"model": "tiny", "temperature": 0, **ASKS[path], **more}
    return requests.post(guarded.url + path, json=body, headers=guarded.headers, timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("path", ASKS)
def test_each_answer_is_charged_what_vllm_counted(guarded: Guarded, path: str) -> None:
    before = charged(guarded)
    answer = ask(guarded, path)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    names = ("input_tokens", "output_tokens") if "input_tokens" in usage else ("prompt_tokens", "completion_tokens")
    reported = sum(usage[name] for name in names)
    assert usage[names[0]] > 0 and usage[names[1]] > 0
    assert charged_since(guarded, before) == reported
    between = charged(guarded)
    stream = ask(guarded, path, stream=True)
    assert stream.status_code == 200 and stream.headers["content-type"].startswith("text/event-stream")
    assert charged_since(guarded, between) == reported


@pytest.mark.parametrize("store", ["false", "0", "off", 0, False, True, None])
def test_no_response_is_made_in_the_background(guarded: Guarded, store: Any) -> None:
    before = charged(guarded)
    answer = ask(guarded, "/v1/responses", background=True, store=store)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in ("background", "store")
    assert charged(guarded) == before


def test_a_client_that_leaves_a_stream_that_hides_tokens_pays_for_what_the_engine_made(guarded: Guarded) -> None:
    before = charged(guarded)
    hidden = {"messages": TURN, "max_tokens": MOST_TOKENS, "n": 2, "include_reasoning": False}
    body = {"model": "tiny", "ignore_eos": True, "stream": True, **hidden}
    url = guarded.url + "/v1/chat/completions"
    with requests.post(url, json=body, headers=guarded.headers, stream=True, timeout=PATIENCE_SECONDS) as answer:
        assert next(answer.iter_lines()).startswith(b"data: ")
    # Without vLLM's count it would be all that was reserved for it.
    assert 0 < charged_since(guarded, before) < 2 * MOST_TOKENS
