"""What agents tell each other arrives as it was, and nothing else is a message."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_runtime.multi_node.message import (
    LINE_BYTES,
    TEXT_CHARACTERS,
    Beat,
    Challenge,
    Ended,
    Join,
    Message,
    NotAMessage,
    Proof,
    Start,
    Stopping,
    TurnedAway,
    decode,
    encode,
)


@pytest.mark.parametrize(
    "message",
    [
        Join(3, "0a1b"),
        Join(3, "0a", "n" * 32),
        Challenge("n" * 32, "p" * 64),
        Proof("p" * 64),
        TurnedAway("rank 3 is there"),
        Start(),
        Stopping(),
        Ended(),
        Beat(),
        Beat("loads the model"),
    ],
)
def test_a_message_arrives_as_it_was(message: Message) -> None:
    line = encode(message)
    assert decode(line) == message
    assert line.endswith(b"\n")


def test_the_longest_message_fits_into_a_line() -> None:
    assert len(encode(Beat("\U0001f600" * (TEXT_CHARACTERS // 2)))) < LINE_BYTES


def test_fields_of_other_versions_are_passed_over() -> None:
    assert decode(b'{"kind": "Join", "rank": 1, "digest": "0a", "added": [1]}') == Join(1, "0a")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET / HTTP/1.1",
        b"\xff\xfe\x00",
        b"[" * LINE_BYTES,
        b"9" * LINE_BYTES,
        b"[]",
        b"null",
        b"{}",
        b'{"kind": []}',
        b'{"kind": "Leave"}',
        b'{"kind": "Join", "rank": 1}',
        b'{"kind": "Join", "rank": true, "digest": "a"}',
        b'{"kind": "Join", "rank": 1.0, "digest": "a"}',
        b'{"kind": "Join", "rank": "1", "digest": "a"}',
        b'{"kind": "Join", "rank": 1, "digest": 5}',
        b'{"kind": "Join", "rank": 1, "digest": "a", "nonce": 1}',
        b'{"kind": "Join", "rank": 1, "digest": "a", "nonce": null}',
        b'{"kind": "Challenge", "nonce": "a"}',
        b'{"kind": "Proof"}',
        b'{"kind": "Beat", "reason": "two\\nlines"}',
        json.dumps({"kind": "Beat", "reason": "x" * (TEXT_CHARACTERS + 1)}).encode(),
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(NotAMessage):
        decode(line)


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda each: json.dumps(each).encode())
)
def test_nothing_that_comes_does_harm(line: bytes) -> None:
    with pytest.raises(NotAMessage):
        decode(line)
