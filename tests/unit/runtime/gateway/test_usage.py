"""Tokens: vLLM's own count where it tells one, never less than what was reserved where it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmservice_runtime.gateway.answer import ResponseStream
from llmservice_runtime.gateway.engine_counts import EngineCounts
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import Size, size_of
from llmservice_runtime.gateway.usage import usage_of as usage

SIZE = Size(1, 30, 100)
OPEN = Size(2, 30, 100, is_open=True)


def usage_of(
    state: dict[str, Any],
    status: int,
    last: bytes,
    parts: int,
    size: Size,
    kind: Kind = Kind.CHAT,
    seconds: float = 0.0,
    **more: Any,
) -> tuple[int, int]:
    answer = ResponseStream(None, [], None, None)  # type: ignore[arg-type]
    answer.status, answer.last, answer.parts, answer.complete = status, last, parts, True
    for name, value in more.items():
        setattr(answer, name, value)
    return usage(state, kind, answer, size, seconds, EngineCounts())


def scope(final: Any) -> dict[str, Any]:
    return {"state": {"request_metadata": SimpleNamespace(final_usage_info=final)}}


COUNTED = scope(SimpleNamespace(prompt_tokens=12, completion_tokens=5))


def test_the_engines_count_stands_before_all_else() -> None:
    assert usage_of(COUNTED, 200, b"", 99, SIZE) == (12, 5)
    assert usage_of(COUNTED, 0, b'"usage":{"prompt_tokens":1}', 99, SIZE) == (12, 5)


def test_a_prompt_that_was_cut_counts_whole() -> None:
    size = size_of(Kind.COMPLETION, {"prompt": "a" * 4000, "truncate_prompt_tokens": 12})
    assert usage_of(COUNTED, 200, b"", 99, size) == (1000, 5)
    assert usage_of({}, 200, b'{"usage":{"prompt_tokens":12}}', 1, size, kind=Kind.EMBEDDING) == (1000, 0)


def test_a_count_of_an_answer_without_tokens() -> None:
    assert usage_of(scope(SimpleNamespace(prompt_tokens=12, completion_tokens=None)), 200, b"", 1, SIZE) == (12, 0)


@pytest.mark.parametrize("state", [{}, {"state": {}}, scope(None)])
def test_what_the_engine_refused_took_nothing(state: dict[str, Any]) -> None:
    assert usage_of(state, 400, b"", 1, SIZE) == (0, 0)


@pytest.mark.parametrize(
    ("last", "tokens"),
    [
        (b'{"data":[],"usage":{"prompt_tokens":7,"total_tokens":7}}', (7, 0)),
        (b'{"output":[],"usage": {"input_tokens":7,"output_tokens":2,"d":{}},"user":"me"}', (7, 2)),
        (b'data: {"response":{"usage":{"input_tokens":7,"output_tokens":2}}}\n\n', (7, 2)),
        (b'{"text":"say \\"usage\\":{\\"prompt_tokens\\":1}"}', (30, 100)),
        (b'{"usage":null}', (30, 100)),
        (b'{"usage":{"prompt_tokens":-1}}', (30, 100)),
        (b'{"usage":{"prompt_tokens":"1"}}', (30, 100)),
        (b'{"usage":{"prompt_tokens":1', (30, 100)),
        (b'"usage":' + b"[" * 60_000, (30, 100)),
        (b"", (30, 100)),
    ],
)
def test_an_answer_may_tell_it(last: bytes, tokens: tuple[int, int]) -> None:
    assert usage_of({}, 200, last, 4, SIZE) == tokens


def test_a_client_that_left_a_stream_pays_for_its_prompt_and_what_was_sent() -> None:
    assert usage_of({}, 200, b"data: x", 4, SIZE, is_stream=True, complete=False) == (30, 4)


def test_a_client_that_took_no_more_of_its_stream_pays_for_what_the_engine_may_have_made() -> None:
    assert usage_of({}, 200, b"data: x", 4, SIZE, is_stream=True, complete=False, stalled=True) == (30, 100)


def test_large_parts_of_a_stream_count_as_the_tokens_that_may_be_in_them() -> None:
    large = Size(1, 30, 100, per_part=40)
    assert usage_of({}, 200, b"data: x", 2, large, is_stream=True, complete=False) == (30, 80)
    assert usage_of({}, 200, b"data: x", 4, large, is_stream=True, complete=False) == (30, 100)
    assert size_of(Kind.CHAT, {"stream_interval": 40}).per_part == 40


def test_tokens_that_a_stream_does_not_show_count_as_reserved() -> None:
    hidden = size_of(Kind.CHAT, {"include_reasoning": False, "max_tokens": 100})
    assert usage_of({}, 200, b"data: x", 2, hidden, is_stream=True, complete=False) == (0, 100)


def test_a_client_that_left_a_stream_of_sound_pays_by_size_and_time() -> None:
    size = Size(1, 30, is_open=True)
    got = usage_of({}, 200, b"data: x", 2, size, kind=Kind.AUDIO, seconds=3, is_stream=True, complete=False)
    assert got == (30, 600)


def test_a_client_that_left_another_answer_pays_what_was_reserved() -> None:
    assert usage_of({}, 0, b"", 0, SIZE, complete=False, seconds=1000) == (30, 100)


def test_where_the_answer_has_no_bound_the_time_counts_too() -> None:
    assert usage_of({}, 0, b"", 0, OPEN, complete=False, seconds=0.1) == (30, 100)
    assert usage_of({}, 0, b"", 0, OPEN, complete=False, seconds=10) == (30, 4000)


def test_what_fails_late_has_used_the_engine() -> None:
    assert usage_of({}, 500, b"", 1, SIZE, seconds=0.1) == (30, 20)
    assert usage_of({}, 400, b"", 1, SIZE, seconds=60) == (30, 100)


def test_a_long_prompt_that_ends_in_an_error_pays_for_the_tokenizers_time() -> None:
    size = Size(1, 100_000)
    assert usage_of({}, 400, b"", 1, size, seconds=0.0001) == (5, 0)
    assert usage_of({}, 400, b"", 1, size, seconds=0.5) == (25_000, 0)
    assert usage_of({}, 400, b"", 1, size, seconds=5) == (100_000, 0)


@pytest.mark.parametrize("padding", [70_000, 8_000_000])
def test_what_follows_the_usage_does_not_hide_it(padding: int) -> None:
    last = b'{"usage":{"input_tokens":7,"output_tokens":9000},"user":"%s"}' % (b"x" * padding)
    assert usage_of({}, 200, last, 1, SIZE) == (7, 9000)


def test_no_object_of_the_client_stands_for_the_usage() -> None:
    made_up = b'{"usage":{"input_tokens":0,"output_tokens":0}}'
    last = b'{"metadata":%s,"usage":{"input_tokens":7,"output_tokens":50},"tools":[%s]}' % (made_up, made_up)
    assert usage_of({}, 200, last, 1, SIZE) == (7, 50)


def test_usages_without_end_of_the_client_leave_at_least_the_reservation() -> None:
    last = b'{"usage":{"input_tokens":7,"output_tokens":50},"x":[%s]}' % b",".join([b'{"usage":1}'] * 1000)
    assert usage_of({}, 200, last, 1, SIZE) == (30, 100)


@pytest.mark.parametrize(
    ("last", "tokens"),
    [
        (b'{"text":"a","usage":{"type":"duration","seconds":12}}', 600),
        (b'{"text":"a","usage":{"seconds":12,"type":"duration"}}', 600),
        (b'{"duration":1.01,"text":"a","segments":[]}', 51),
        (b'{"duration":"1.01","text":"say \\"duration\\":99999"}', 51),
    ],
)
def test_sound_is_charged_by_its_seconds(last: bytes, tokens: int) -> None:
    assert usage_of({}, 200, last, 1, SIZE, kind=Kind.AUDIO) == (tokens, 0)


def test_sound_without_a_duration_is_charged_by_size_and_time() -> None:
    size = Size(1, 30, is_open=True)
    assert usage_of({}, 200, b'{"text":"a"}', 1, size, kind=Kind.AUDIO, seconds=3) == (30, 600)


def test_a_websocket_is_charged_by_what_came_and_went() -> None:
    assert usage_of({}, 101, b"", 4, OPEN, kind=Kind.REALTIME, received=11) == (11, 4)
