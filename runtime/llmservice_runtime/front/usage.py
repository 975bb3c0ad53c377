"""How many tokens a request took.

vLLM leaves its count in the request's state for completions and chats, streamed or not. Other answers tell it in their
last part. Where neither does, because the client went away or the stream failed, the estimate of the prompt and the
parts that were sent stand for it.
"""

from __future__ import annotations

from json import JSONDecoder
from typing import Any

from llmservice_runtime.front.asgi import Scope
from llmservice_runtime.front.sizes import Size

Usage = tuple[int, int]
"""Tokens of the prompt and of the answer."""

NOTHING: Usage = (0, 0)
_FIRST_ERROR = 400
_TAIL_BYTES = 64 * 1024
_NAME = b'"usage":'
_COUNTS = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))
_decoder = JSONDecoder()


def usage_of(scope: Scope, status: int, last: bytes, parts: int, size: Size) -> Usage:
    """The tokens of a request that has ended; `last` and `parts` are of its answer's body."""
    counted = _in_state(scope)
    if counted:
        return counted
    if status >= _FIRST_ERROR:
        return NOTHING
    return _in_answer(last) or (size.prompt_tokens, parts)


def _in_state(scope: Scope) -> Usage | None:
    metadata = scope.get("state", {}).get("request_metadata")
    final = getattr(metadata, "final_usage_info", None)
    if final is None:
        return None
    return int(final.prompt_tokens or 0), int(final.completion_tokens or 0)


def _in_answer(last: bytes) -> Usage | None:
    """What the last "usage" in a part of a JSON answer says. Within a text its quotes would be escaped."""
    tail = last[-_TAIL_BYTES:]
    at = tail.rfind(_NAME)
    if at < 0:
        return None
    try:
        found, _ = _decoder.raw_decode(tail[at + len(_NAME) :].decode("utf-8", "replace").lstrip())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return next((counts for names in _COUNTS if (counts := _counts(found, *names))), None)


def _counts(found: dict[str, Any], prompt: str, completion: str) -> Usage | None:
    tokens = found.get(prompt), found.get(completion) or 0
    if not all(isinstance(each, int) and each >= 0 for each in tokens):
        return None
    return int(tokens[0] or 0), int(tokens[1])
