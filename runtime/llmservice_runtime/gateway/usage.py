"""How many tokens a request used.

While a request runs, and if its client goes away, vLLM's engine has counted its tokens (`engine_counts`). At the end,
vLLM leaves its count in the request's state for completions and chats, streamed or not. Other answers tell it in their
last part. If nothing of that is there, the tokens that the engine made are not known: what was reserved for the request
stands for them, or, if the request did not say how long its answer may be, as many as an engine makes in the time, if
that is more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from json import JSONDecoder
from typing import Any

from llmservice_runtime.gateway.answer import ResponseStream
from llmservice_runtime.gateway.asgi import Scope
from llmservice_runtime.gateway.engine_counts import EngineCounts
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import TOKENS_PER_AUDIO_SECOND, Size

Usage = tuple[int, int]
"""Tokens of the prompt and of the answer."""

TOKENS_PER_SECOND = 200
"""Maximum rate of an engine for one answer, used if nothing else is known."""
PROMPT_TOKENS_PER_SECOND = 50_000
"""What a prompt that ended in an error pays for each second, up to its tokens: one that is too long for the model has
been through the tokenizer, which has one thread for all clients."""
_FIRST_ERROR = 400
_NAME = b'"usage":'
_MOST_NAMES = 64
"""So many places of the last part are looked at, the last ones."""
_LONGEST = 4096
"""Bytes of a usage."""
_COUNTS = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))
_DURATION = re.compile(rb'"duration":\s{0,8}"?(\d{1,9}(?:\.\d{1,20})?)')
_decoder = JSONDecoder()


def used_so_far(kind: Kind, answer: ResponseStream, size: Size, counts: EngineCounts) -> int:
    """Tokens that a running request has used for certain.

    Without the engine's count: each part of a stream is a token or more, and half of the prompt's estimate is surely
    not too much.
    """
    if kind is Kind.REALTIME:
        return answer.received + answer.parts
    if counts.is_known and kind is not Kind.AUDIO:
        return counts.prompt_tokens + counts.completion_tokens
    if not answer.is_stream or not answer.parts:
        return 0
    return size.prompt_tokens // 2 + _bounded(_sent(answer, size), size)


def most_so_far(answer: ResponseStream, size: Size, seconds: float, counts: EngineCounts) -> Usage:
    """The tokens that a running request may have used after so long.

    Without the engine's count: the estimate of its prompt and the tokens that were sent, or, if there may be more of
    them than were sent, as many as an engine makes in the time.
    """
    if counts.is_known:
        return counts.prompt_tokens, counts.completion_tokens
    sent = _sent(answer, size)
    is_shown = answer.is_stream and not size.is_hidden and not answer.stalled
    return size.prompt_tokens, sent if is_shown else max(sent, _in_time(size, seconds))


def usage_of(
    scope: Scope,
    kind: Kind,
    answer: ResponseStream,
    size: Size,
    seconds: float,
    counts: EngineCounts,
    failed: bool = False,
) -> Usage:
    """The tokens of a request that has ended after so long; `failed`: the application raised an exception."""
    counted = _in_state(scope)
    if counted:
        return _whole(counted, size)
    if kind is Kind.REALTIME:
        return answer.received, answer.parts
    if counts.is_known and kind is not Kind.AUDIO:
        return _whole((counts.prompt_tokens, counts.completion_tokens), size)
    if failed or answer.status >= _FIRST_ERROR:
        # Most are refused at once, but some only after the engine has worked.
        prompt = min(size.prompt_tokens, int(seconds * PROMPT_TOKENS_PER_SECOND))
        return prompt, min(_unknown(size, seconds), _in_time(size, seconds))
    if answer.complete and (reported := _in_answer(kind, answer.last)):
        return _whole(reported, size)
    knows = answer.is_stream and kind is not Kind.AUDIO and not size.is_hidden and not answer.stalled
    if knows and answer.parts and not answer.complete:
        return size.prompt_tokens, _bounded(answer.parts * size.per_part, size)
    return size.prompt_tokens, max(answer.parts if answer.is_stream else 0, _unknown(size, seconds))


def _whole(usage: Usage, size: Size) -> Usage:
    prompt, completion = usage
    return (max(prompt, size.prompt_tokens) if size.is_truncated else prompt), completion


def _sent(answer: ResponseStream, size: Size) -> int:
    """Tokens of a stream's parts. The first part of each answer is sent with its first token."""
    return max(answer.parts, (answer.parts - size.requests) * size.per_part)


def _bounded(tokens: int, size: Size) -> int:
    return tokens if size.is_open else min(tokens, size.completion_tokens)


def _unknown(size: Size, seconds: float) -> int:
    return max(size.completion_tokens, _in_time(size, seconds)) if size.is_open else size.completion_tokens


def _in_time(size: Size, seconds: float) -> int:
    return int(seconds * TOKENS_PER_SECOND) * size.requests


def _in_state(scope: Scope) -> Usage | None:
    metadata = scope.get("state", {}).get("request_metadata")
    final = getattr(metadata, "final_usage_info", None)
    if final is None:
        return None
    return int(final.prompt_tokens or 0), int(final.completion_tokens or 0)


def _in_answer(kind: Kind, last: bytes) -> Usage | None:
    """The largest usage in a part of a JSON answer. Within a text its quotes would be escaped.

    The largest, since objects that a client sent may be in the answer too, and may say anything.
    """
    found = [usage for each in _usages(last) if (usage := _counts(each))]
    if kind is Kind.AUDIO:
        durations = (float(each[1]) for each in _DURATION.finditer(last))
        found += [(math.ceil(seconds * TOKENS_PER_AUDIO_SECOND), 0) for seconds in durations]
    return max(found, key=sum, default=None)


def _usages(last: bytes) -> Iterator[dict[str, Any]]:
    end = len(last)
    for _ in range(_MOST_NAMES):
        at = last.rfind(_NAME, 0, end)
        if at < 0:
            return
        text = last[at + len(_NAME) : at + len(_NAME) + _LONGEST].decode("utf-8", "replace").lstrip()
        try:
            value, _ = _decoder.raw_decode(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield value
        end = at


def _counts(found: dict[str, Any]) -> Usage | None:
    if found.get("type") == "duration":
        seconds = _count(found.get("seconds"))
        return None if seconds is None else (math.ceil(seconds * TOKENS_PER_AUDIO_SECOND), 0)
    for names in _COUNTS:
        prompt, completion = _count(found.get(names[0])), _count(found.get(names[1]) or 0)
        if prompt is not None and completion is not None:
            return int(prompt), int(completion)
    return None


def _count(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf else None
