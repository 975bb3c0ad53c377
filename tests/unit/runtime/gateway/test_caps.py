"""Caps: as much as allowed passes, one more is refused by name; nothing slips past by its type."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.caps import MOST_PROMPT_LOGPROBS, check_caps, missing_max_tokens
from llmservice_runtime.gateway.fields import (
    BOOLEANS,
    INTEGERS,
    METADATA_BYTES,
    TEXT_BYTES,
    TEXTS,
    TOKENIZER_BYTES,
    WORDS,
    WORDS_BYTES,
)
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import Size, audio_size, number, size_of

CAPS = Caps(prompts=3, max_tokens=100, n=2, logprobs=5, stop=2, tools=2, schema_bytes=40, messages=10, parts=12)
JSON_KINDS = [kind for kind in Kind if kind.is_json]


def refused(kind: Kind, request: dict[str, Any], caps: Caps = CAPS) -> str:
    """The field and the message of the refusal; empty where the request passes."""
    refusal = check_caps(kind, request, caps)
    if refusal is None:
        return ""
    assert refusal.status == 400
    return f"{refusal.param}: {refusal.message}"


@pytest.mark.parametrize("value", [True, 5, "x", [], [{}]])
def test_what_vllm_takes_for_an_object_unseen_has_to_be_one(value: object) -> None:
    request = {"messages": [], "structured_outputs": value}
    assert refused(Kind.CHAT, request) == "structured_outputs: structured_outputs has to be a JSON object."


@pytest.mark.parametrize(
    ("kind", "within", "beyond", "reported"),
    [
        (Kind.COMPLETION, {"prompt": ["a"] * 3}, {"prompt": ["a"] * 4}, "prompt: prompt asks for 4 prompts"),
        (Kind.COMPLETION, {"prompt": [[1, 2]] * 3}, {"prompt": [[1, 2]] * 4}, "prompt: prompt asks for 4 prompts"),
        (Kind.COMPLETION, {"prompt": [1] * 900}, {"prompt_embeds": ["a"] * 4}, "prompt_embeds"),
        (Kind.COMPLETION, {"prompt": "aaaa"}, {"prompt": ["a"] * 2, "prompt_embeds": ["a"] * 2}, "(prompts)"),
        (Kind.BATCH, {"prompts": ["a"] * 3}, {"prompts": ["a"] * 4}, "this service allows 3 (prompts)"),
        (Kind.EMBEDDING, {"input": ["a"] * 3}, {"input": ["a"] * 4}, "input: input asks for 4 prompts"),
        (Kind.EMBEDDING, {"input": [1] * 9}, {"input": [[1]] * 4}, "input"),
        (Kind.EMBEDDING, {"input": [{"role": "user"}] * 9}, {"messages": [[{"role": "user"}]] * 4}, "messages"),
        (Kind.EMBEDDING, {"texts": ["a"] * 3}, {"images": ["a"] * 4}, "images"),
        (Kind.CHAT, {"messages": [{}] * 9}, {"n": 3}, "n: n asks for 3; this service allows 2 (n)"),
        (Kind.CHAT_BATCH, {"messages": [[{}]] * 3}, {"messages": [[{}]] * 4}, "messages"),
        (Kind.SCORING, {"text_1": "a", "text_2": ["b"] * 3}, {"query": "a", "documents": ["b"] * 4}, "documents"),
        (Kind.DECISIONS, {"questions": dict.fromkeys("abc")}, {"questions": dict.fromkeys("abcd")}, "questions"),
        (Kind.CHAT, {"messages": [{}] * 10}, {"messages": [{}] * 11}, "messages asks for 11 messages"),
        (Kind.CHAT, {"messages": ["a"] * 10}, {"messages": [{}, *["a"] * 10]}, "this service allows 10 (messages)"),
        (Kind.CHAT_BATCH, {"messages": [[{}] * 5] * 2}, {"messages": [[{}] * 6] * 2}, "12 messages"),
        (Kind.RESPONSES, {"input": [{}] * 10}, {"input": [{}] * 11}, "input asks for 11 messages"),
        (Kind.MESSAGES, {"messages": [{}] * 10}, {"messages": [{}] * 11}, "messages"),
        (Kind.TEXT, {"messages": [{}] * 10}, {"messages": [{}] * 11}, "messages"),
        (Kind.CHAT, {"messages": [{"content": [{}] * 6}] * 2}, {"messages": [{"content": [{}] * 7}] * 2}, "(parts)"),
        (Kind.MESSAGES, {"system": [{}] * 12, "messages": [{}]}, {"system": [{}] * 13, "messages": [{}]}, "(parts)"),
        (Kind.RESPONSES, {"input": [{"content": [1] * 12}]}, {"input": [{"content": [1] * 13}]}, "12 (parts)"),
        (
            Kind.MESSAGES,
            {"messages": [{"content": [{"content": [{}] * 11}]}]},
            {"messages": [{"content": [{"content": [{}] * 12}]}]},
            "13 or more parts",
        ),
        (Kind.CHAT_BATCH, {"best_of": 2}, {"best_of": 3}, "best_of: best_of asks for 3"),
        (Kind.COMPLETION, {"max_tokens": 100}, {"max_tokens": 101}, "this service allows 100 (maxTokens)"),
        (Kind.CHAT, {"max_completion_tokens": 100}, {"max_completion_tokens": 101}, "max_completion_tokens"),
        (Kind.CHAT, {"max_tokens": 100}, {"max_completion_tokens": 1, "max_tokens": 101}, "max_tokens"),
        (Kind.RESPONSES, {"max_output_tokens": 100}, {"max_output_tokens": 101}, "max_output_tokens"),
        (Kind.COMPLETION, {"logprobs": 5}, {"logprobs": 6}, "this service allows 5 (logprobs)"),
        (Kind.COMPLETION, {"logprobs": 0}, {"logprobs": -1}, "logprobs asks for those of the whole vocabulary"),
        (Kind.CHAT, {"logprobs": True, "top_logprobs": 5}, {"top_logprobs": 6}, "top_logprobs"),
        (Kind.CHAT, {"prompt_logprobs": 5}, {"prompt_logprobs": -1}, "prompt_logprobs"),
        (Kind.CHAT, {"logprob_token_ids": [1] * 5}, {"logprob_token_ids": [1] * 6}, "logprob_token_ids"),
        (Kind.CHAT, {"stop": ["a", "b"]}, {"stop": ["a", "b", "c"]}, "stop: stop asks for 3 stop sequences"),
        (Kind.MESSAGES, {"stop_sequences": ["a"] * 2}, {"stop_sequences": ["a"] * 3}, "stop_sequences"),
        (Kind.CHAT, {"stop": "one text"}, {"stop_token_ids": [1] * 3}, "stop_token_ids"),
        (Kind.CHAT, {"tools": [{}, {}]}, {"tools": [{}, {}, {}]}, "tools asks for 3 tools"),
        (Kind.CHAT, {"response_format": {"a": "b" * 32}}, {"response_format": {"a": "b" * 33}}, "(schemaBytes)"),
        (Kind.CHAT, {"structured_outputs": {"regex": "b" * 28}}, {"structured_outputs": {"regex": "b" * 29}}, "41"),
        (Kind.CHAT, {"tools": [{"a": "b" * 30}]}, {"tools": [{"a": "b" * 31}]}, "tools asks for schemas of 41 bytes"),
        (Kind.RESPONSES, {"text": {"a": "b" * 32}}, {"text": {"a": "b" * 33}}, "text"),
        (Kind.CHAT, {"guided_regex": "é" * 20}, {"guided_regex": "é" * 20 + "a"}, "guided_regex"),
        (Kind.CHAT, {}, {"tools": [{"a": "b" * 10}], "response_format": {"a": "b" * 20}}, "schemas of 48 bytes"),
    ],
)
def test_one_more_is_refused(kind: Kind, within: dict[str, Any], beyond: dict[str, Any], reported: str) -> None:
    assert refused(kind, within) == ""
    assert reported in refused(kind, beyond)


@pytest.mark.parametrize("value", ["3", " 3 ", "3.0", 3.0, 2.5, True, False, "9" * 500, float("inf"), [3], {}])
@pytest.mark.parametrize("field", sorted(INTEGERS - {"logprobs"}))
def test_numbers_have_to_be_plain_integers(field: str, value: Any) -> None:
    for kind in JSON_KINDS:
        assert refused(kind, {field: value}).startswith(f"{field}: {field} has to be an integer")


@pytest.mark.parametrize("value", ["true", "false", "off", "0", "", 0, 1, 0.0, [], {}])
@pytest.mark.parametrize("field", sorted(BOOLEANS))
def test_booleans_have_to_be_plain(field: str, value: Any) -> None:
    for kind in JSON_KINDS:
        assert refused(kind, {field: value}).startswith(f"{field}: {field} has to be true or false")


def test_logprobs_is_a_number_of_a_completion_and_a_boolean_of_a_chat() -> None:
    assert refused(Kind.COMPLETION, {"logprobs": 1}) == refused(Kind.CHAT, {"logprobs": True}) == ""
    assert "has to be an integer" in refused(Kind.COMPLETION, {"logprobs": True})
    assert "has to be true or false" in refused(Kind.CHAT, {"logprobs": 1})


def test_an_immense_number_is_refused_briefly() -> None:
    assert 0 < len(refused(Kind.COMPLETION, {"n": 10**400})) < 120


def test_nothing_is_made_in_the_background() -> None:
    assert refused(Kind.RESPONSES, {"background": True}).startswith("background: ")
    assert refused(Kind.RESPONSES, {"background": False, "store": False}) == ""
    assert refused(Kind.RESPONSES, {"background": None, "store": None}) == ""


@pytest.mark.parametrize(("field", "most"), [*TEXTS.items(), ("metadata", METADATA_BYTES)])
def test_what_vllm_only_passes_on_is_bounded(field: str, most: int) -> None:
    text = {"a": "b" * (most - 8)} if field == "metadata" else "é" * (most // 2)
    assert refused(Kind.RESPONSES, {field: text}) == ""
    longer = {"a": "b" * (most - 7)} if field == "metadata" else "é" * (most // 2) + "a"
    assert refused(Kind.RESPONSES, {field: longer}) == f"{field}: {field} has {most + 1} bytes; {most} are allowed."


def test_without_a_limit_any_length_passes() -> None:
    assert refused(Kind.CHAT, {"max_tokens": 10**12}, Caps()) == ""


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    *("prompt", "prompts", "prompt_embeds", "messages", "input", "inputs", "texts", "documents", "query", "questions"),
    *("n", "best_of", "max_tokens", "max_completion_tokens", "max_output_tokens", "logprobs", "top_logprobs", "stop"),
    *("prompt_logprobs", "logprob_token_ids", "tools", "response_format", "structured_outputs", "state", "system"),
)


@given(st.sampled_from(JSON_KINDS), st.dictionaries(st.sampled_from(FIELDS), anything, max_size=6))
def test_no_json_breaks_it_and_what_passes_keeps_to_the_caps(kind: Kind, request: dict[str, Any]) -> None:
    refusal = check_caps(kind, request, CAPS)
    size = size_of(kind, request)
    assert size.requests >= 1 and size.prompt_tokens >= 0 and size.completion_tokens >= 0
    missing_max_tokens(kind, request, CAPS)
    if refusal is None:
        assert size.requests <= CAPS.prompts * CAPS.n
        assert size.completion_tokens <= size.requests * 100


@given(st.integers(-(2**53), 2**53))
def test_a_number_is_the_same_however_it_is_written(value: int) -> None:
    assert number(value) == number(str(value)) == number(f" {value}.0 ") == value


@pytest.mark.parametrize(
    ("kind", "request_", "caps", "filled"),
    [
        (Kind.CHAT, {}, Caps(), None),
        (Kind.CHAT, {}, Caps(default_max_tokens=50), ("max_completion_tokens", 50)),
        (Kind.CHAT, {}, Caps(max_tokens=70), ("max_completion_tokens", 70)),
        (Kind.CHAT, {}, Caps(default_max_tokens=90, max_tokens=70), ("max_completion_tokens", 70)),
        (Kind.CHAT, {"max_tokens": None}, Caps(default_max_tokens=50), ("max_completion_tokens", 50)),
        (Kind.CHAT, {"max_tokens": 5}, Caps(default_max_tokens=50), None),
        (Kind.COMPLETION, {}, Caps(default_max_tokens=50), ("max_tokens", 50)),
        (Kind.COMPLETION, {}, Caps(max_tokens=70), None),
        (Kind.COMPLETION, {}, Caps(max_tokens=7), ("max_tokens", 7)),
        (Kind.COMPLETION, {"max_tokens": None}, Caps(max_tokens=70), ("max_tokens", 70)),
        (Kind.RESPONSES, {}, Caps(max_tokens=70), ("max_output_tokens", 70)),
        (Kind.COHERE, {"max_completion_tokens": 1}, Caps(max_tokens=70), ("max_tokens", 70)),
        (Kind.EMBEDDING, {}, Caps(default_max_tokens=50, max_tokens=70), None),
    ],
)
def test_an_open_length_is_closed(kind: Kind, request_: dict[str, Any], caps: Caps, filled: Any) -> None:
    assert missing_max_tokens(kind, request_, caps) == filled


@pytest.mark.parametrize(
    ("kind", "request_", "size"),
    [
        (Kind.COMPLETION, {"prompt": "12345678", "max_tokens": 10}, Size(1, 2, 10)),
        (Kind.COMPLETION, {"prompt": "123456789"}, Size(1, 3, 16)),
        (Kind.COMPLETION, {"prompt": ["1234", "éé"], "n": 3, "max_tokens": 5}, Size(6, 2, 30)),
        (Kind.COMPLETION, {"prompt": [1, 2, 3], "max_tokens": 0}, Size(1, 3, 0)),
        (Kind.COMPLETION, {"prompt": [[1, 2, 3], [4]], "max_tokens": 1}, Size(2, 4, 2)),
        (Kind.BATCH, {"prompts": ["1234"] * 3, "max_tokens": 2}, Size(3, 3, 6)),
        (Kind.CHAT, {"messages": [{"role": "user", "content": "12345678"}]}, Size(1, 2, 0, is_open=True)),
        (Kind.COHERE, {"messages": [], "max_completion_tokens": 1}, Size(1, 0, 0, is_open=True)),
        (Kind.COHERE, {"messages": [], "max_completion_tokens": 1, "max_tokens": 9}, Size(1, 0, 9)),
        (Kind.COMPLETION, {"prompt": "1234", "max_tokens": None}, Size(1, 1, 0, is_open=True)),
        (Kind.CHAT_BATCH, {"messages": [[{"content": "1234"}], [{"content": "1234"}]]}, Size(2, 2, 0, is_open=True)),
        (Kind.RESPONSES, {"instructions": "1234", "input": "1234", "max_output_tokens": 9}, Size(1, 2, 9)),
        (
            Kind.RESPONSES,
            {"input": [{"content": [{"type": "input_text", "text": "1234"}]}]},
            Size(1, 1, 0, is_open=True),
        ),
        (Kind.MESSAGES, {"system": "1234", "messages": [{"content": "1234"}], "max_tokens": 7}, Size(1, 2, 7)),
        (Kind.EMBEDDING, {"input": ["1234", "1234"]}, Size(2, 2, 0)),
        (Kind.SCORING, {"query": "1234", "documents": ["1234"] * 5}, Size(5, 10, 0)),
        (Kind.SCORING, {"query": "1234", "documents": ["1234"] * 5, "instruction": "1234"}, Size(5, 15, 0)),
        (Kind.EMBEDDING, {"messages": [[{"role": "user", "content": "1234"}]] * 3}, Size(3, 3, 0)),
        (Kind.EMBEDDING, {"input": [[{"role": "user", "content": "1234"}]] * 3}, Size(3, 3, 0)),
        (Kind.DECISIONS, {"state": {"a": "1234"}, "questions": {"q": {"type": "12"}, "r": {"type": "12"}}}, None),
    ],
)
def test_what_a_request_counts_as(kind: Kind, request_: dict[str, Any], size: Size | None) -> None:
    assert size_of(kind, request_) == (size or Size(2, 8, 0)), "names of a decision count too"


def test_an_image_counts_as_nothing() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:" + "A" * 4000}}
    message = {"role": "user", "content": [picture, {"type": "text", "text": "1234"}]}
    assert size_of(Kind.CHAT, {"messages": [message]}).prompt_tokens == 1


@pytest.mark.parametrize(
    ("size", "limit", "tokens"),
    [
        (Size(1, 5, 0, is_open=True), None, 1024),
        (Size(3, 5, 0, is_open=True), None, 3 * 1024),
        (Size(1, 5, 0, is_open=True), 100_000, 1024),
        (Size(16, 5, 0, is_open=True), 100_000, 10_000),
        (Size(1, 5, 0, is_open=True), 1000, 100),
        (Size(1, 995, 0, is_open=True), 1000, 5),
        (Size(1, 5000, 0, is_open=True), 1000, 1),
        (Size(1, 5, 7), 1000, 7),
        (Size(1, 5), 1000, 0),
    ],
)
def test_an_answer_whose_length_is_open_reserves_what_fits_into_the_limit(size: Size, limit: Any, tokens: int) -> None:
    assert size.within(limit).completion_tokens == tokens


def test_sound_reserves_by_its_bytes_half_of_the_limit_at_most() -> None:
    assert audio_size(320_000, None) == audio_size(320_000, 2000) == Size(1, 1000, is_open=True)
    assert audio_size(320_000, 1000) == Size(1, 500, is_open=True)
    assert audio_size(8 * 2**20, 1).prompt_tokens == 1


@pytest.mark.parametrize("field", WORDS)
def test_words_that_the_tokenizer_or_each_token_meets_are_bounded(field: str) -> None:
    caps = Caps(stop=16)
    assert not refused(Kind.CHAT, {field: ["a" * (WORDS_BYTES - 4)]}, caps)
    assert refused(Kind.CHAT, {field: ["a" * WORDS_BYTES]}, caps).startswith(f"{field}: {field} has ")


@pytest.mark.parametrize(
    ("field", "of"),
    [
        ("prompt", lambda count: "a" * count),
        ("tokens", lambda count: [7] * count),
        ("tokens", lambda count: [7] * (count - 1) + ["7"]),
        ("messages", lambda count: [{"role": "user", "content": "a" * count}]),
        ("messages", lambda count: [{"role": "user", "content": [{"type": "refusal", "refusal": "a" * count}]}]),
        ("system", lambda count: [{"type": "text", "text": "a" * count}]),
    ],
)
def test_what_only_the_tokenizer_reads_is_bounded_and_counts(field: str, of: Any) -> None:
    # Its answer is made in one piece, on the event loop of all clients.
    assert TEXT_BYTES == 64 * 1024
    within = {field: of(TEXT_BYTES), "return_token_strs": True}
    assert not refused(Kind.TEXT, within, Caps())
    assert size_of(Kind.TEXT, within).prompt_tokens >= TEXT_BYTES // 4
    assert refused(Kind.TEXT, {field: of(TEXT_BYTES + 1)}, Caps()).startswith(f"{field}: {field} has 65537 ")
    assert refused(Kind.TEXT, {field: of(TEXT_BYTES), "documents": ["a"]}, Caps()), "all fields count together"


def test_a_conversation_of_which_only_the_number_of_tokens_is_asked_may_be_long() -> None:
    def of(count: int) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": "a" * count}]}

    assert not refused(Kind.COUNTING, of(TOKENIZER_BYTES), Caps())
    assert refused(Kind.COUNTING, of(TOKENIZER_BYTES + 1), Caps()).startswith("messages: messages has 1048577 ")
    assert size_of(Kind.COUNTING, of(4000)).prompt_tokens == 1000


def test_token_ids_count_whatever_is_among_them() -> None:
    for ids in ([7] * 999 + ["7"], ["7"] + [7] * 999, [[7] * 999 + ["7"]]):
        assert size_of(Kind.COMPLETION, {"prompt": ids}).prompt_tokens >= 1000


ASKED = [
    (Kind.COMPLETION, "prompt_logprobs", {}),
    (Kind.COMPLETION, "logprobs", {"echo": True}),
    (Kind.BATCH, "prompt_logprobs", {}),
    (Kind.CHAT, "prompt_logprobs", {}),
    (Kind.CHAT, "top_logprobs", {"echo": True, "logprobs": True}),
    (Kind.CHAT_BATCH, "prompt_logprobs", {}),
]


def logprobs_of(kind: Kind, tokens: int, prompts: int) -> dict[str, Any]:
    """A request with so many prompts of so many tokens each."""
    if kind is Kind.CHAT:
        return {"messages": [{"role": "user", "content": "a" * tokens}], "n": prompts}
    if kind is Kind.CHAT_BATCH:
        return {"messages": [[{"role": "user", "content": "a" * tokens}]] * prompts}
    if kind is Kind.BATCH:
        return {"prompts": ["a" * tokens] * prompts}
    return {"prompt": [[7] * tokens] * prompts if prompts > 1 else [7] * tokens}


@pytest.mark.parametrize(("kind", "field", "more"), ASKED)
@pytest.mark.parametrize("prompts", [1, 4, 8])
def test_log_probabilities_of_a_prompt_are_bounded_together(
    kind: Kind, field: str, more: dict[str, Any], prompts: int
) -> None:
    def asked(tokens: int) -> str:
        return refused(kind, {**logprobs_of(kind, tokens, prompts), **more, field: 3}, Caps())

    assert not asked(MOST_PROMPT_LOGPROBS // 4 // prompts)
    assert asked(MOST_PROMPT_LOGPROBS // 4 // prompts + 1).startswith(f"{field}: ")


@pytest.mark.parametrize("kind", [Kind.COMPLETION, Kind.BATCH, Kind.CHAT, Kind.CHAT_BATCH])
def test_log_probabilities_count_for_each_answer(kind: Kind) -> None:
    request = {**logprobs_of(kind, 1000, 1), "prompt_logprobs": 9}
    assert not refused(kind, {**request, "n": 3}, Caps())
    for field in ("n", "best_of"):
        assert refused(kind, {**request, field: 4}, Caps()).startswith("prompt_logprobs: ")


def test_log_probabilities_count_what_stands_before_each_conversation() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "a" * 1000}}]
    request = {**logprobs_of(Kind.CHAT_BATCH, 1, 8), "tools": tools}
    assert not refused(Kind.CHAT_BATCH, {**request, "prompt_logprobs": 2}, Caps())
    assert refused(Kind.CHAT_BATCH, {**request, "prompt_logprobs": 4}, Caps()).startswith("prompt_logprobs: ")


def test_the_chosen_tokens_of_a_prompt_alone_are_bounded_too() -> None:
    assert refused(Kind.COMPLETION, {"prompt": [7] * (MOST_PROMPT_LOGPROBS + 1), "prompt_logprobs": 0})
    assert not refused(Kind.COMPLETION, {"prompt": [7] * (MOST_PROMPT_LOGPROBS + 1)})


@pytest.mark.parametrize(
    ("kind", "field"), [(Kind.COMPLETION, "prompt"), (Kind.EMBEDDING, "input"), (Kind.SCORING, "documents")]
)
def test_a_prompt_that_is_cut_is_bounded_before(kind: Kind, field: str) -> None:
    cut = {"truncate_prompt_tokens": 10}
    assert not refused(kind, {field: ["a" * TOKENIZER_BYTES] * 3, **cut})
    assert not refused(kind, {field: "a" * (TOKENIZER_BYTES + 1)})
    assert refused(kind, {field: "a" * (TOKENIZER_BYTES + 1), **cut}).startswith(f"{field}: {field} has 1048577 bytes")
    assert refused(kind, {field: ["a" * (TOKENIZER_BYTES + 1), "a"], **cut})


def agent_tool(number: int, description: str, kind: Kind) -> dict[str, Any]:
    """Of about the size that tools of coding agents and MCP servers have: 8 parameters, each with some sentences."""
    text = {"type": "string", "description": description}
    schema = {
        "type": "object",
        "properties": {f"parameter_{each}": text for each in range(8)},
        "required": ["parameter_0"],
    }
    if kind is Kind.MESSAGES:
        return {"name": f"tool_{number}", "description": description * 8, "input_schema": schema}
    return {
        "type": "function",
        "function": {"name": f"tool_{number}", "description": description * 8, "parameters": schema},
    }


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.MESSAGES])
def test_the_tools_of_an_agent_pass_the_default_caps(kind: Kind) -> None:
    tools = [agent_tool(number, "What it is for. " * 10, kind) for number in range(128)]
    assert len(json.dumps(tools)) > 300_000
    assert check_caps(kind, {"tools": tools}, Caps()) is None


def test_only_descriptions_of_tools_do_not_count() -> None:
    caps = Caps(schema_bytes=2000)
    said = {"name": "a", "parameters": {"type": "object", "properties": {"description": {"enum": ["a" * 1500]}}}}
    assert check_caps(Kind.CHAT, {"tools": [said]}, caps) is None
    for tools in (
        [said | {"title": "a" * 1500}],
        [said, said],
        [said | {"description": ["a" * 1500]}],
        [said | {"description": "a" * 16_000}],
    ):
        refusal = check_caps(Kind.CHAT, {"tools": tools}, caps)
        assert refusal is not None
        assert (refusal.code, refusal.param) == ("schema_bytes", "tools")
    assert check_caps(Kind.CHAT, {"tools": [said | {"description": "a" * 12_000}]}, caps) is None
    shape = {"json_schema": {"schema": {"description": "a" * 2000}}}
    assert check_caps(Kind.CHAT, {"response_format": shape}, caps) is not None
