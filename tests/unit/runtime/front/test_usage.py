"""Tokens: vLLM's own count where it tells one, an estimate where it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmservice_runtime.front.sizes import Size
from llmservice_runtime.front.usage import usage_of

SIZE = Size(1, 30, 100)


def scope(final: Any) -> dict[str, Any]:
    return {"state": {"request_metadata": SimpleNamespace(final_usage_info=final)}}


COUNTED = scope(SimpleNamespace(prompt_tokens=12, completion_tokens=5))


def test_the_engines_count_stands_before_all_else() -> None:
    assert usage_of(COUNTED, 200, b"", 99, SIZE) == (12, 5)
    assert usage_of(COUNTED, 0, b'"usage":{"prompt_tokens":1}', 99, SIZE) == (12, 5)


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
        (b'{"text":"say \\"usage\\":{\\"prompt_tokens\\":1}"}', (30, 4)),
        (b'{"usage":null}', (30, 4)),
        (b'{"usage":{"prompt_tokens":-1}}', (30, 4)),
        (b'{"usage":{"prompt_tokens":"1"}}', (30, 4)),
        (b'{"usage":{"prompt_tokens":1', (30, 4)),
        (b'"usage":' + b"[" * 60_000, (30, 4)),
        (b"", (30, 4)),
    ],
)
def test_an_answer_may_tell_it(last: bytes, tokens: tuple[int, int]) -> None:
    assert usage_of({}, 200, last, 4, SIZE) == tokens


def test_a_client_that_left_pays_for_its_prompt_and_what_was_sent() -> None:
    assert usage_of({}, 200, b"data: x", 4, SIZE) == (30, 4)
    assert usage_of({}, 0, b"", 0, SIZE) == (30, 0)
