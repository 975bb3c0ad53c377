"""All text that a chat template may write into a prompt counts, whatever field it is in."""

from __future__ import annotations

from typing import Any

import pytest

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.caps import check_caps
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import size_of

TEXT = "x" * 40_000
FUNCTION = {"type": "function", "function": {"name": "f", "description": TEXT}}
USER = {"role": "user", "content": "a"}
TOOL_USE = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": TEXT}}
SUMMARY = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": TEXT}]}
CHATS = [
    {"messages": [USER], "tools": [FUNCTION]},
    {"messages": [USER], "tools": [{"type": "function", "function": {"name": "f", "parameters": {TEXT: {}}}}]},
    {"messages": [{"role": "user", "content": [{"type": "refusal", "refusal": TEXT}]}]},
    {"messages": [{"role": "assistant", "reasoning": TEXT, "content": "a"}]},
    {"messages": [{"role": TEXT, "content": "a"}]},
    {"messages": [{"role": "user", "name": TEXT, "content": "a"}]},
    {"messages": [USER], "documents": [{"text": TEXT}]},
    {"messages": [USER], "chat_template_kwargs": {"x": TEXT}},
]
OTHERS = [
    (Kind.MESSAGES, {"messages": [USER], "tools": [{"name": "f", "description": TEXT, "input_schema": {}}]}),
    (Kind.MESSAGES, {"messages": [{"role": "assistant", "content": [TOOL_USE]}]}),
    (Kind.MESSAGES, {"messages": [{"role": "user", "content": [{"source": {"type": "text", "data": TEXT}}]}]}),
    (Kind.RESPONSES, {"input": "a", "tools": [{"type": "function", "name": "f", "description": TEXT}]}),
    (Kind.RESPONSES, {"input": [SUMMARY]}),
    (Kind.DECISIONS, {"state": [1, TEXT], "questions": {"q": {"type": "x"}}}),
    (Kind.DECISIONS, {"state": {TEXT: 1}, "questions": {"q": {"type": "x"}}}),
    (Kind.DECISIONS, {"state": {"a": [1] * 10_000 + ["x"]}, "questions": {"q": {"type": "x"}}}),
]


@pytest.mark.parametrize(("kind", "body"), [*((Kind.CHAT, body) for body in CHATS), *OTHERS])
def test_all_text_of_a_prompt_is_estimated(kind: Kind, body: dict[str, Any]) -> None:
    assert size_of(kind, body).prompt_tokens >= len(TEXT) // 4


def test_tools_count_for_each_conversation_of_a_batch() -> None:
    one = size_of(Kind.CHAT_BATCH, {"messages": [[USER]], "tools": [FUNCTION]}).prompt_tokens
    assert size_of(Kind.CHAT_BATCH, {"messages": [[USER]] * 5, "tools": [FUNCTION]}).prompt_tokens >= 5 * (one - 1)


@pytest.mark.parametrize("body", CHATS)
def test_log_probabilities_are_bounded_whatever_field_the_text_is_in(body: dict[str, Any]) -> None:
    assert check_caps(Kind.CHAT, {**body, "prompt_logprobs": 20, "max_tokens": 1}, Caps()) is not None


@pytest.mark.parametrize("field", ["refusal", "text", "reasoning"])
def test_what_only_the_tokenizer_reads_is_bounded_whatever_field_it_is_in(field: str) -> None:
    content = [{"type": field, field: "x" * 7_000_000}]
    assert check_caps(Kind.TEXT, {"messages": [{"role": "user", "content": content}]}, Caps()) is not None


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + TEXT}},
        {"type": "image_url", "image_url": "data:image/png;base64," + TEXT},
        {"type": "input_audio", "input_audio": {"data": TEXT, "format": "wav"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TEXT}},
    ],
)
def test_pictures_and_sounds_are_no_text(part: dict[str, Any]) -> None:
    assert size_of(Kind.CHAT, {"messages": [{"role": "user", "content": [part]}]}).prompt_tokens == 0


def test_ids_count_as_many_and_many_are_counted_fast() -> None:
    assert size_of(Kind.COMPLETION, {"prompt": [[1, 2, 3], [4]]}).prompt_tokens == 4
    assert size_of(Kind.COMPLETION, {"prompt": [7] * 300_000}).prompt_tokens == 300_000


@pytest.mark.parametrize(("asked", "prompts"), [(True, 3), (False, None), (None, None)])
def test_a_beam_search_is_known(asked: bool | None, prompts: int | None) -> None:
    assert size_of(Kind.COMPLETION, {"prompt": ["a", "b", "c"], "use_beam_search": asked}).prompts_once == prompts


@pytest.mark.parametrize(
    ("kind", "request_", "tokens"),
    [
        (Kind.EMBEDDING, {"input": "short"}, 512),
        (Kind.EMBEDDING, {"input": ["short", "other"]}, 1024),
        (Kind.EMBEDDING, {"input": [1, 2, 3]}, 512),
        (Kind.EMBEDDING, {"messages": [{"role": "user", "content": "short"}]}, 512),
        (Kind.SCORING, {"query": "a", "documents": ["b", "c"]}, 3 * 512),
        (Kind.SCORING, {"queries": ["a"], "documents": ["b"]}, 2 * 512),
    ],
)
def test_a_padded_prompt_counts_as_long_as_the_engine_computes_it(kind: Kind, request_: Any, tokens: int) -> None:
    padded = {**request_, "padding": "max_length"}
    assert size_of(kind, padded, 512).prompt_tokens == tokens
    for plain in ({**request_, "padding": "do_not_pad"}, {**request_, "padding": None}, request_):
        assert size_of(kind, plain, 512) == size_of(kind, request_)
    assert size_of(kind, padded).prompt_tokens == size_of(kind, request_).prompt_tokens, "the length is not known"


def test_only_what_vllm_pads_counts_so() -> None:
    chat = {"messages": [{"role": "user", "content": "short"}], "padding": "max_length"}
    assert size_of(Kind.CHAT, chat, 512).prompt_tokens < 10


def test_a_padded_prompt_that_is_longer_counts_whole() -> None:
    assert size_of(Kind.EMBEDDING, {"input": "x" * 8000, "padding": "max_length"}, 512).prompt_tokens == 2000
