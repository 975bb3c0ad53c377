"""One streamed answer of a model: its text as it arrives, and what the server says of it at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.inference.endpoint import Lost
from llmservice_operator.cli.inference.events import DONE, Events, LineTooLong
from llmservice_operator.cli.inference.refusals import message_of
from llmservice_operator.cli.reading import document

MOST_BYTES = 64 << 20
"""Of the whole response."""

Write = Callable[[str], None]


@dataclass
class Generation:
    """Times are seconds of one monotonic clock."""

    began: float
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    chunks: list[float] = field(default_factory=list)
    """When each message that is part of the answer arrived, whatever text it carries."""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def first_token_seconds(self) -> float | None:
        """From the request to the first message of the answer."""
        return self.chunks[0] - self.began if self.chunks else None

    @property
    def seconds(self) -> float:
        """From the request to the last message of the answer."""
        return self.chunks[-1] - self.began if self.chunks else 0.0


def receive(
    pieces: Iterable[bytes],
    into: Generation,
    deadline: float,
    on_text: Write = lambda text: None,
    on_reasoning: Write = lambda text: None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Read the stream until its end. Raises Failure if it breaks, reports an error, or is not over at the deadline."""
    events, size = Events(), 0
    for piece in pieces:
        now = clock()
        size += len(piece)
        if size > MOST_BYTES:
            raise Failure(f"the answer is larger than {MOST_BYTES >> 20} MiB")
        try:
            messages = events.feed(piece)
        except LineTooLong:
            raise Failure("the response is not a stream of an OpenAI API: a line is too long") from None
        for data in messages:
            if data == DONE:
                return
            _take(data, into, now, on_text, on_reasoning)
        if now > deadline:
            raise Lost("the answer was not complete in time: raise --timeout, or lower --max-tokens")
    raise Lost("the connection closed before the answer was complete")


def _take(data: bytes, into: Generation, now: float, on_text: Write, on_reasoning: Write) -> None:
    message = document(data)
    if message is None:
        raise Failure("the response is not a stream of an OpenAI API: a message is not a JSON object")
    if message.get("error"):
        raise Failure(f"the model stopped with an error: {message_of(data)}")
    usage = message.get("usage")
    if isinstance(usage, Mapping):
        into.prompt_tokens = _count(usage.get("prompt_tokens"), into.prompt_tokens)
        into.output_tokens = _count(usage.get("completion_tokens"), into.output_tokens)
    choices = message.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, Mapping):
        return
    into.chunks.append(now)
    reason = first.get("finish_reason")
    if isinstance(reason, str):
        into.finish_reason = reason
    delta = first.get("delta")
    part = delta if isinstance(delta, Mapping) else first
    for names, kept, write in (
        (("reasoning", "reasoning_content"), into.reasoning, on_reasoning),
        (("content", "text"), into.text, on_text),
    ):
        text = next((found for name in names if isinstance(found := part.get(name), str) and found), "")
        if text:
            kept.append(text)
            write(text)


def _count(value: Any, known: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else known
