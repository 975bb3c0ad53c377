"""OpenAI's own Python client against a real engine with keys, limits and caps: it works unchanged, and what is refused
comes as its own exceptions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from support.guarded import CAPS, FEW_TOKENS, Guarded
from support.tricks import UNKNOWN_KEY

PROMPT = "Permission is hereby granted, free of"
MESSAGES: list[Any] = [{"role": "user", "content": "The quick brown fox"}]
ASK: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_tokens": FEW_TOKENS}


def client_of(guarded: Guarded, key: str, max_retries: int = 0) -> OpenAI:
    """As a user makes it; `key` is a name, or a key that the engine does not know."""
    return OpenAI(base_url=f"{guarded.url}/v1", api_key=guarded.keys.get(key, key), max_retries=max_retries)


@pytest.fixture
def client(guarded: Guarded) -> Iterator[OpenAI]:
    with client_of(guarded, "free") as made:
        yield made


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_a_completion_and_its_stream_say_the_same(client: OpenAI) -> None:
    whole = client.completions.create(prompt=PROMPT, **ASK)
    chunks = list(client.completions.create(prompt=PROMPT, stream=True, **ASK))
    assert whole.usage is not None
    assert whole.usage.completion_tokens == FEW_TOKENS
    assert whole.choices[0].text
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert len(chunks) > 1
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason == "length"


def test_a_chat_and_its_stream_say_the_same(client: OpenAI) -> None:
    whole = client.chat.completions.create(messages=MESSAGES, **ASK)
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = client.chat.completions.create(messages=MESSAGES, **options, **ASK)
    assert whole.choices[0].message.role == "assistant"
    assert whole.choices[0].message.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert last.usage == whole.usage


def test_many_prompts_in_one_request(client: OpenAI) -> None:
    answer = client.completions.create(prompt=[PROMPT, "Hello"], n=2, **{**ASK, "temperature": 1})
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]


async def test_its_asynchronous_form(guarded: Guarded) -> None:
    async with openai.AsyncOpenAI(base_url=f"{guarded.url}/v1", api_key=guarded.keys["free"], max_retries=0) as client:
        stream = await client.chat.completions.create(messages=MESSAGES, stream=True, **ASK)
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason


def test_an_answer_tells_its_request_and_how_the_key_stands(guarded: Guarded) -> None:
    with client_of(guarded, "watched") as client:
        create = client.completions.with_raw_response.create
        first = create(prompt=PROMPT, extra_headers={"X-Request-Id": "mine-1"}, **ASK)
        second = create(prompt=PROMPT, **ASK)
    assert first.parse().choices[0].text == second.parse().choices[0].text
    assert first.headers["x-ratelimit-limit-requests"] == "1000"
    assert first.headers["x-ratelimit-limit-tokens"] == "1000000"
    assert [remaining(each, "requests") for each in (first, second)] == [999, 998]
    assert remaining(second, "tokens") < remaining(first, "tokens") < 1_000_000
    assert first.request_id == "mine-1"
    assert second.request_id not in (None, "mine-1")


def remaining(raw: Any, what: str) -> int:
    return int(raw.headers[f"x-ratelimit-remaining-{what}"])


@pytest.mark.parametrize("key", [UNKNOWN_KEY, "sk-proj-0123456789"])
def test_a_wrong_key_is_an_authentication_error(guarded: Guarded, key: str) -> None:
    with client_of(guarded, key) as client, pytest.raises(openai.AuthenticationError) as refused:
        client.chat.completions.create(messages=MESSAGES, **ASK)
    assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
    assert refused.value.request_id
    assert key not in str(refused.value)


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(messages=MESSAGES, **{**ASK, "model": "gpt-5"})
    assert "gpt-5" in refused.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_more_than_a_cap_is_a_bad_request_that_names_it(client: OpenAI, stream: bool) -> None:
    asked = {**ASK, "max_tokens": CAPS.max_tokens + 1}
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(prompt=PROMPT, stream=stream, **asked)
    assert (refused.value.code, refused.value.param, refused.value.type) == (
        "max_tokens",
        "max_tokens",
        "invalid_request_error",
    )
    assert str(CAPS.max_tokens) in refused.value.message
    assert client.completions.create(prompt=PROMPT, **{**ASK, "max_tokens": CAPS.max_tokens}).choices


def test_what_vllm_refuses_is_a_bad_request_too(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.completions.create(prompt=PROMPT, **{**ASK, "temperature": -1})


def test_an_admin_route_is_denied(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.post("/load_lora_adapter", body={"lora_name": "a", "lora_path": "/a"}, cast_to=object)
    assert refused.value.code == "insufficient_permissions"


def test_beyond_the_limit_is_a_rate_limit_error_that_says_when_to_come_back(guarded: Guarded) -> None:
    with client_of(guarded, "busy") as client:
        create = client.completions.with_raw_response.create
        assert [remaining(create(prompt=PROMPT, **ASK), "requests") for _ in range(2)] == [1, 0]
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as refused:
                client.chat.completions.create(messages=MESSAGES, stream=stream, **ASK)
            headers = refused.value.response.headers
            assert 1 <= int(headers["retry-after"]) <= 60
            assert headers["x-ratelimit-limit-requests"] == "2"
            assert headers["x-ratelimit-remaining-requests"] == "0"
            assert 0 < float(headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 60
            assert refused.value.code == "rate_limit_exceeded"
        assert client.models.list().data, "what is no work has no limit"


def test_what_never_fits_the_limit_is_not_asked_again(guarded: Guarded) -> None:
    with client_of(guarded, "poor", max_retries=2) as client, pytest.raises(openai.RateLimitError) as refused:
        client.completions.create(prompt=PROMPT, **ASK)
    assert refused.value.request.headers["x-stainless-retry-count"] == "0"
    assert "never fit" in refused.value.message
