"""How many messages a request has, and parts in their contents: each costs vLLM time on the one event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.refusals import Refusal, above_cap
from llmservice_runtime.gateway.routes import Kind
from llmservice_runtime.gateway.sizes import Request

_CONVERSATIONS = frozenset(
    {Kind.CHAT, Kind.COHERE, Kind.CHAT_BATCH, Kind.RESPONSES, Kind.MESSAGES, Kind.EMBEDDING, Kind.TEXT, Kind.COUNTING}
)
_CONTENTS = ("content", "output", "summary")
"""Fields of a message, or of a part, with a list of parts."""


def check_messages(kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    """Whether it has more messages than the cap; those of several conversations count together."""
    field, messages = _messages(kind, request)
    count = sum(len(each) if isinstance(each, list) else 1 for each in messages)
    return above_cap("messages", caps.messages, field, f"{count} messages") if count > caps.messages else None


def check_parts(kind: Kind, request: Request, caps: Caps) -> Refusal | None:
    """Whether all messages together have more parts than the cap."""
    field, messages = _messages(kind, request)
    count = 0
    for contents in _contents([*messages, {"content": request.get("system")}]):
        count += len(contents)
        if count > caps.parts:
            return above_cap("parts", caps.parts, field, f"{count} or more parts of contents")
    return None


def _messages(kind: Kind, request: Request) -> tuple[str, list[Any]]:
    """The field with the messages, and its entries: messages or conversations. No entries if there is none."""
    if kind in _CONVERSATIONS:
        for field in ("messages", "input"):
            value = request.get(field)
            if isinstance(value, list) and value and isinstance(value[0], dict | list) and not _of_numbers(value[0]):
                return field, value
    return "messages", []


def _of_numbers(value: Any) -> bool:
    return isinstance(value, list) and (not value or isinstance(value[0], int | float))


def _contents(value: Any) -> Iterator[list[Any]]:
    """Every list of parts, those within other parts too."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(part for part in each if isinstance(part, dict | list))
        else:
            for field in _CONTENTS:
                if isinstance(inner := each.get(field), list):
                    yield inner
                    waiting.append(inner)
