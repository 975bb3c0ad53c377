"""Untrusted JSON is read within bounds, or not at all."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_contract.foreign import DEEPEST, MOST_CHARACTERS, read_json

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 60), 1 << 60), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=20,
)


@given(JSON)
def test_what_is_json_is_read(value: Any):
    assert read_json(json.dumps(value)) == value


@given(st.text())
def test_what_is_none_is_none(text: str):
    read_json(text)


@pytest.mark.parametrize(
    "text",
    [
        None,
        3,
        "",
        "x",
        "NaN",
        "[1, -Infinity]",
        "9" * 5000,
        "[" * 1_000_000,
        "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2),
        '{"a":' * 900 + "1" + "}" * 900,
        " " * (MOST_CHARACTERS + 1),
        '"' + "x" * MOST_CHARACTERS + '"',
    ],
    ids=range(12),
)
def test_what_is_beyond_the_bounds_is_none(text: object, monkeypatch: pytest.MonkeyPatch):
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda read, **options: (parsed.append(len(read)), loads(read, **options))[1])
    assert read_json(text) is None
    assert all(length <= MOST_CHARACTERS for length in parsed), "a text that is too long is not parsed"


def test_the_deepest_that_is_read():
    text = "[" * DEEPEST + "1" + "]" * DEEPEST
    assert read_json(text) == json.loads(text)


def test_half_a_character_can_be_written_again():
    found = read_json('{"a": "x\\ud83d", "b": "\\ud83d\\ude00"}')
    assert found == {"a": "x?", "b": "😀"}
