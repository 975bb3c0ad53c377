"""The access policy: what is written is read, what is wrong is named, what is left out has its default."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_contract.policy import (
    DEFAULT_TIERS,
    BadPolicy,
    Caps,
    OnFailure,
    Policy,
    RateLimit,
    Store,
    read_policy,
)

counts = st.integers(1, 10**9)
limits = st.builds(RateLimit, st.none() | counts, st.none() | counts)
tiers = st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,5}[a-z0-9]", fullmatch=True), limits, max_size=4)
caps = st.builds(Caps, body_bytes=st.integers(1024), max_tokens=st.none() | counts, logprobs=st.integers(0, 50))
stores = st.builds(Store, st.just("store:6379"), st.booleans(), st.text(max_size=5), st.sampled_from(OnFailure))
policies = st.builds(Policy, st.booleans(), st.none() | tiers, st.none() | stores, caps)


@given(policies)
def test_what_is_written_is_read_again(policy: Policy) -> None:
    assert read_policy(policy.to_json()) == policy


def test_an_empty_policy_is_all_defaults() -> None:
    assert read_policy("{}") == Policy()
    assert Policy().to_json() == "{}"


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        ([], ("object", "array")),
        ({"keys": True}, ("unknown field `keys`",)),
        ({"caps": {"seconds": 1}}, ("unknown field `seconds`", "`caps`")),
        ({"requireKeys": 1}, ("`requireKeys`", "bool")),
        ({"tiers": {"A": {}}}, ("`tiers`", "regex")),
        ({"tiers": {"a": {"requestsPerMinute": 0}}}, ("tiers", "requestsPerMinute", ">= 1")),
        ({"tiers": {"a": {"tokensPerMinute": True}}}, ("tiers", "tokensPerMinute", "int")),
        ({"store": {"tls": True}}, ("`address`", "`store`")),
        ({"store": {"address": "a:1", "onFailure": "shut"}}, ("`store.onFailure`", "shut")),
        ({"caps": {"bodyBytes": 1023}}, ("`caps.bodyBytes`", ">= 1024")),
        ({"caps": {"n": 2.0}}, ("`caps.n`", "int", "float")),
        ({"caps": None}, ("`caps`", "object")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named(data: object, facts: tuple[str, ...]) -> None:
    with pytest.raises(BadPolicy) as raised:
        read_policy(json.dumps(data))
    assert [fact for fact in facts if fact not in str(raised.value)] == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[" * 100_000, '{"caps":' * 100_000),
        '{"store": {"address": "\\ud800"}}',
        f'{{"caps": {{"n": 1{"0" * 5000}}}}}',
    ],
    ids=lambda text: text[:20],
)
def test_what_can_t_be_read_is_refused_in_a_few_words(text: str) -> None:
    with pytest.raises(BadPolicy) as raised:
        read_policy(text)
    assert len(str(raised.value)) < 400


def test_a_long_name_is_not_repeated_whole() -> None:
    with pytest.raises(BadPolicy) as raised:
        read_policy(json.dumps({"x" * 10_000: 1}))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("cap", msgspec.structs.fields(Caps), ids=lambda cap: str(cap.encode_name))
def test_each_cap_has_a_least_value(cap: msgspec.structs.FieldInfo) -> None:
    with pytest.raises(BadPolicy):
        read_policy(json.dumps({"caps": {cap.encode_name: -1}}))


def test_the_keys_of_the_file_are_the_agreed_ones() -> None:
    """Another version of the operator or of the runtime has the same."""
    every = Policy(True, {"a": RateLimit(1, 2)}, Store("a:1", True, "p", OnFailure.CLOSED, True), Caps(1024))
    assert json.loads(every.to_json()) == {
        "requireKeys": True,
        "tiers": {"a": {"requestsPerMinute": 1, "tokensPerMinute": 2}},
        "store": {"address": "a:1", "tls": True, "prefix": "p", "onFailure": "closed", "trusted": True},
        "caps": {"bodyBytes": 1024},
    }
    assert [each.encode_name for each in msgspec.structs.fields(Caps)] == [
        *("bodyBytes", "headerBytes", "prompts", "defaultMaxTokens", "maxTokens", "n", "logprobs", "stop", "tools"),
        *("schemaBytes", "grammars", "messages", "parts", "objects", "values", "concurrency"),
        *("concurrencyPerReplica", "bufferedBytes", "deadlineSeconds"),
    ]


def test_a_tier_that_is_not_named_has_the_limits_of_default() -> None:
    policy = Policy(tiers=DEFAULT_TIERS)
    assert policy.limit_of("premium") == RateLimit(1_000, 1_000_000)
    assert policy.limit_of("gold") == RateLimit(60, 100_000)
    assert Policy().limit_of("gold") == RateLimit()
