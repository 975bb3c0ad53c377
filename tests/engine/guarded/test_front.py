"""The runtime as a client meets it, with real vLLM on this machine's CPU: keys, batches, and JSON lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from support.guarded import CONTEXT_LENGTH, FEW_TOKENS, Guarded

PROMPTS = ["Permission is hereby granted, free of", "The quick brown fox", "What is the capital of"]
PATIENCE_SECONDS = 300


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


def completion(prompt: str = PROMPTS[0], **options: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": prompt, "temperature": 0, "max_tokens": FEW_TOKENS, **options}


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/batch"])
async def test_work_needs_a_key(guarded: Guarded, client: aiohttp.ClientSession, path: str) -> None:
    body = completion() if path == "/v1/completions" else {"prompts": PROMPTS[:1]}
    for headers in ({}, {"Authorization": "Bearer not-a-key"}):
        async with client.post(guarded.url + path, json=body, headers=headers) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "key" in (await answer.json())["error"]["message"]
    async with client.post(guarded.url + path, json=body, headers=guarded.headers) as answer:
        assert answer.status == 200


async def test_readiness_needs_none_and_stopping_is_not_for_clients(
    guarded: Guarded, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{guarded.url}/ready") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "reason": None})
    forwarded = guarded.headers | {"X-Forwarded-For": "10.0.0.1"}
    async with client.post(f"{guarded.url}/drain", headers=forwarded) as answer:
        assert answer.status in (401, 403)
    async with client.get(f"{guarded.url}/ready") as answer:
        assert answer.status == 200


async def batch(guarded: Guarded, client: aiohttp.ClientSession, *prompts: str, **options: Any) -> Any:
    body = {"prompts": prompts, "temperature": 0, "max_tokens": FEW_TOKENS, **options}
    async with client.post(f"{guarded.url}/v1/batch", json=body, headers=guarded.headers) as answer:
        return answer.status, await answer.json()


async def one_by_one(guarded: Guarded, client: aiohttp.ClientSession) -> list[Any]:
    answers = []
    for prompt in PROMPTS:
        url = f"{guarded.url}/v1/completions"
        async with client.post(url, json=completion(prompt), headers=guarded.headers) as answer:
            answers.append(await answer.json())
    return answers


async def test_a_batch_says_in_order_what_its_prompts_alone_are_answered(
    guarded: Guarded, client: aiohttp.ClientSession
) -> None:
    single = await one_by_one(guarded, client)
    status, answer = await batch(guarded, client, *PROMPTS)
    assert status == 200
    assert [result["text"] for result in answer["results"]] == [each["choices"][0]["text"] for each in single]
    assert len({result["text"] for result in answer["results"]}) == len(PROMPTS)
    assert answer["model"] == "tiny"
    assert answer["usage"]["total_tokens"] == sum(each["usage"]["total_tokens"] for each in single)


async def test_one_prompt_that_is_too_long_fails_alone(guarded: Guarded, client: aiohttp.ClientSession) -> None:
    single = await one_by_one(guarded, client)
    status, answer = await batch(guarded, client, PROMPTS[0], "fox " * 2000, *PROMPTS[1:])
    assert status == 200
    first, failed, *rest = answer["results"]
    assert [each["text"] for each in (first, *rest)] == [each["choices"][0]["text"] for each in single]
    assert failed.keys() == {"error"}
    assert failed["error"]["code"] == 400
    assert str(CONTEXT_LENGTH) in failed["error"]["message"], "it says how long a prompt may be"
    assert answer["usage"]["total_tokens"] == sum(each["usage"]["total_tokens"] for each in single)


@pytest.mark.parametrize(
    ("options", "status"), [({"model": "other"}, 404), ({"temperature": -1}, 400), ({"n": 2}, 400)], ids=str
)
async def test_what_is_wrong_with_a_whole_batch_refuses_it(
    guarded: Guarded, client: aiohttp.ClientSession, options: dict[str, Any], status: int
) -> None:
    got, answer = await batch(guarded, client, *PROMPTS, **options)
    assert (got, answer.keys()) == (status, {"error"})


@dataclass(frozen=True)
class Said:
    """Tokens of a stream; vLLM puts several tokens into one event when it is ahead of its client."""

    text: str
    ends: list[str]
    usage: dict[str, int]
    fields: set[str]

    @classmethod
    def of(cls, lines: list[str]) -> Said:
        *events, last = (json.loads(line) for line in lines)
        (choices,) = zip(*(event["choices"] for event in events), strict=True)
        return cls(
            "".join(each["text"] for each in choices),
            [each["finish_reason"] for each in choices if each["finish_reason"]],
            last["usage"],
            {name for each in (*events, *choices) for name in each},
        )


async def test_json_lines_say_what_the_events_say(guarded: Guarded, client: aiohttp.ClientSession) -> None:
    url, body = f"{guarded.url}/v1/completions", completion(stream=True, stream_options={"include_usage": True})
    async with client.post(url, json=body, headers=guarded.headers) as answer:
        assert answer.content_type == "text/event-stream"
        events = [line.removeprefix("data: ") for line in (await answer.text()).split("\n\n")[:-1]]
    headers = guarded.headers | {"Accept": "application/x-ndjson"}
    async with client.post(url, json=body, headers=headers) as answer:
        assert answer.content_type == "application/x-ndjson"
        lines = (await answer.text()).split("\n")[:-1]
    assert events.pop() == "[DONE]"
    assert len(lines) > 2, "it came in pieces"
    assert Said.of(lines) == Said.of(events)
    assert Said.of(lines).usage["completion_tokens"] == FEW_TOKENS
