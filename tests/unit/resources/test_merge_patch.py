"""JSON merge patches, against the examples of RFC 7386 and against another implementation."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_operator.resources import merge_patch
from support.fake_api import merged

JSON = st.recursive(st.sampled_from([0, 1, "", "x"]), lambda inner: st.dictionaries(st.sampled_from("abc"), inner))
STATUS = st.dictionaries(st.sampled_from("abcd"), JSON)
EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "foo"}, None, None),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_the_examples_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch.patched(target, patch) == result
    assert merged(target, patch) == result, "the stand-in for the API server does the same"


@given(old=STATUS, new=STATUS)
def test_a_patch_makes_the_one_into_the_other_and_is_empty_for_equals(old: Any, new: Any) -> None:
    patch = merge_patch.between(old, new)
    assert merge_patch.patched(old, patch) == merged(old, patch) == new
    assert bool(patch) == (old != new)
