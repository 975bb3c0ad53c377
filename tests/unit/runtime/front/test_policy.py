"""The access policy: what is written is read, what is wrong is named, what is left out has its default."""

from __future__ import annotations

import json

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
caps = st.builds(Caps, bodyBytes=st.integers(1024), maxTokens=st.none() | counts, logprobs=st.integers(0, 50))
stores = st.builds(Store, st.just("store:6379"), st.booleans(), st.text(max_size=5), st.sampled_from(OnFailure))
policies = st.builds(Policy, st.booleans(), st.none() | tiers, st.none() | stores, caps)


@given(policies)
def test_what_is_written_is_read_again(policy: Policy) -> None:
    assert read_policy(policy.to_json()) == policy


def test_an_empty_policy_is_all_defaults() -> None:
    assert read_policy("{}") == Policy()
    assert Policy().to_json() == "{}"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "the access policy is no JSON object"),
        ({"keys": True}, "keys is no field"),
        ({"requireKeys": 1}, "requireKeys is no bool"),
        ({"tiers": {"A": {}}}, "tiers: 'A' is no name of a tier"),
        ({"tiers": {"a": {"requestsPerMinute": 0}}}, "tiers.a.requestsPerMinute is 0; the least is 1"),
        ({"tiers": {"a": {"tokensPerMinute": True}}}, "tiers.a.tokensPerMinute is no int"),
        ({"store": {"tls": True}}, "store lacks address"),
        ({"store": {"address": "a:1", "onFailure": "shut"}}, "store.onFailure is neither open nor closed"),
        ({"caps": {"bodyBytes": 1023}}, "caps.bodyBytes is 1023; the least is 1024"),
        ({"caps": {"n": 2.0}}, "caps.n is no int"),
        ({"caps": None}, "caps is no JSON object"),
    ],
)
def test_what_is_wrong_is_named(data: object, why: str) -> None:
    with pytest.raises(BadPolicy) as raised:
        read_policy(json.dumps(data))
    assert why in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_what_is_no_json_is_told(text: str) -> None:
    with pytest.raises(BadPolicy, match="is not JSON"):
        read_policy(text)


def test_a_tier_that_is_not_named_has_the_limits_of_default() -> None:
    policy = Policy(tiers=DEFAULT_TIERS)
    assert policy.limit_of("premium") == RateLimit(1_000, 1_000_000)
    assert policy.limit_of("gold") == RateLimit(60, 100_000)
    assert Policy().limit_of("gold") == RateLimit()
