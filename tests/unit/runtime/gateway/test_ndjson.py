"""JSON lines say what the event stream says, however it is cut into chunks."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmservice_runtime.gateway.ndjson import Lines, wants_lines

STREAM = (b"content-type", b"text/event-stream; charset=utf-8")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ([b"application/x-ndjson"], True),
        ([b"Application/X-NDJSON; q=0.5"], True),
        ([b"text/event-stream;q=0.1, application/x-ndjson"], True),
        ([b"text/event-stream", b"application/x-ndjson"], True),
        ([b"application/x-ndjson;q=0"], False),
        ([b"application/x-ndjson; q=0.000"], False),
        ([b"application/x-ndjsonx"], False),
        ([b"*/*"], False),
        ([b"application/json"], False),
        ([], False),
    ],
)
def test_lines_are_for_who_asks_for_them(accept: list[bytes], wanted: bool) -> None:
    headers = [(b"host", b"application/x-ndjson"), *((b"accept", value) for value in accept)]
    assert wants_lines(headers) is wanted


def converted(chunks: list[bytes], *headers: tuple[bytes, bytes]) -> tuple[dict[bytes, bytes], bytes]:
    lines = Lines()
    start = lines.start({"type": "http.response.start", "status": 200, "headers": list(headers)})
    body = b""
    for at, chunk in enumerate(chunks):
        message: dict[str, Any] = {"type": "http.response.body", "body": chunk, "more_body": at + 1 < len(chunks)}
        turned = lines.body(message)
        assert (turned["type"], turned["more_body"]) == (message["type"], message["more_body"])
        body += turned["body"]
    return dict(start["headers"]), body


def test_each_event_becomes_a_line_and_the_end_mark_none() -> None:
    headers, body = converted(
        [b'data: {"a":1}\n\n', b'data: {"b":"\\n\\n"}\n\n', b"data: [DONE]\n\n", b""],
        STREAM,
        (b"content-length", b"7"),
        (b"x-request-id", b"r"),
    )
    assert headers == {b"content-type": b"application/x-ndjson", b"x-request-id": b"r"}
    assert body == b'{"a":1}\n{"b":"\\n\\n"}\n'


def test_what_is_no_event_stream_passes_unchanged() -> None:
    given_headers = ((b"content-type", b"application/json"), (b"content-length", b"15"))
    assert converted([b'data: {"a":1}\n\n'], *given_headers) == (dict(given_headers), b'data: {"a":1}\n\n')


def test_comments_names_and_carriage_returns_of_events_are_left_out() -> None:
    chunks = [b": keep-alive\n\n", b'event: response.created\r\ndata: {"a":1}\r\n\r', b"\n", b'data:{"b":2}\n\n']
    assert converted(chunks, STREAM)[1] == b'{"a":1}\n{"b":2}\n'


def test_data_over_several_lines_stays_one_line() -> None:
    assert converted([b'data: {"a":\ndata: 1}\n\n'], STREAM)[1] == b'{"a": 1}\n'


def test_an_event_that_is_cut_off_is_left_out() -> None:
    assert converted([b'data: {"a":1}\n\ndata: {"b"', b""], STREAM)[1] == b'{"a":1}\n'


names = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
event = st.dictionaries(names, values, max_size=3)


@given(st.lists(event, max_size=6), st.lists(st.integers(0, 400)), st.booleans())
def test_any_split_gives_the_same_lines(events: list[dict[str, Any]], cuts: list[int], ascii_only: bool) -> None:
    stream = b"".join(b"data: " + json.dumps(event, ensure_ascii=ascii_only).encode() + b"\n\n" for event in events)
    stream += b"data: [DONE]\n\n"
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    body = converted(chunks, STREAM)[1]
    assert [json.loads(line) for line in body.decode().split("\n")[:-1]] == events
