"""Attempts to get more tokens than a key's limit: each with its own key, all at the same time, for more than a
minute. Each counts the tokens that it received; the counters of the engine count all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hostile_parts.requests_cases import CHAT, COMPLETIONS, MESSAGES, RESPONSES, chat, completion
from hostile_parts.requests_http import Server

LIMIT = 1500
"""Tokens of a minute of each key."""
SECONDS = 80.0
SHORT, LONG = 40, 700
"""Tokens of an answer: many of the first, few of the second, fit the limit."""
PAUSE_SECONDS = 0.1
_SPREAD = 20
"""Tokens of an answer that comes as a whole are counted at so many times while it was made."""


@dataclass
class Account:
    """What one key was given: when how many tokens, prompts included."""

    given: list[tuple[float, int]] = field(default_factory=list)
    refused: int = 0
    answered: int = 0

    def add(self, tokens: int) -> None:
        """Now."""
        self.given.append((time.monotonic(), tokens))

    def add_since(self, began: float, tokens: int) -> None:
        """Evenly from then until now, as the engine makes them: an answer that comes whole doesn't tell when."""
        now = time.monotonic()
        counts = [tokens * part // _SPREAD for part in range(_SPREAD + 1)]
        self.given += [
            (began + (now - began) * part / _SPREAD, counts[part] - counts[part - 1]) for part in range(1, _SPREAD + 1)
        ]

    def ended(self, status: int) -> None:
        """An answer with this status."""
        self.answered += status == 200
        self.refused += status != 200


Attempt = Callable[[Server, Account, float], Awaitable[None]]


@dataclass(frozen=True)
class LimitCase:
    """One way to try it."""

    name: str
    attempt: Attempt
    family: str = "limits"
    tier: str = "limited"


def all_cases() -> tuple[LimitCase, ...]:
    """8 of them."""
    return tuple(LimitCase(f"limit-{name}", attempt) for name, attempt in _attempts())


def _attempts() -> Iterator[tuple[str, Attempt]]:
    forced = {"ignore_eos": True, "temperature": 1.0}
    yield "short-answers", _posts(COMPLETIONS, completion(max_tokens=SHORT, **forced), 4)
    yield "long-answers-at-once", _posts(COMPLETIONS, completion(max_tokens=LONG, **forced), 12)
    unlimited = completion(**forced)
    del unlimited["max_tokens"]
    yield "no-max-tokens", _posts(COMPLETIONS, unlimited | {"min_tokens": 15}, 8)
    said_nothing = chat(**forced)
    del said_nothing["max_tokens"]
    yield "chat-no-max-tokens", _streams(CHAT, said_nothing, 8)
    yield "streams-left-early", _left(COMPLETIONS, completion(max_tokens=LONG, **forced), 6)
    hidden = {"model": "tiny", "input": "a", "max_output_tokens": SHORT, "user": "u" * 4000}
    yield "responses-user", _posts(RESPONSES, hidden | {"metadata": {f"k{n}": "v" * 500 for n in range(16)}}, 4)
    yield "messages", _posts(MESSAGES, {"model": "tiny", "max_tokens": SHORT, "messages": chat()["messages"]}, 4)
    yield "several-answers", _posts(COMPLETIONS, completion(max_tokens=SHORT, n=8, best_of=8, **forced), 3)


def _posts(path: str, body: dict[str, Any], at_once: int) -> Attempt:
    async def once(server: Server, account: Account) -> None:
        began = time.monotonic()
        found = await server.post(path, body, 75.0)
        account.ended(found.status)
        if found.status == 200 and (tokens := _tokens(found.json())):
            account.add_since(began, tokens)

    return _again_and_again(once, at_once)


def _streams(path: str, body: dict[str, Any], at_once: int) -> Attempt:
    async def once(server: Server, account: Account) -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        before = 0
        async for event in server.events(path, {**body, "stream_options": options}, 75.0):
            now = _tokens(event)
            if now > before:
                account.add(now - before)
                before = now
        account.ended(200 if before else 429)

    return _again_and_again(once, at_once)


def _left(path: str, body: dict[str, Any], at_once: int) -> Attempt:
    """The client goes after some events, before the engine reports the usage."""

    async def once(server: Server, account: Account) -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        before = 0
        async for event in server.events(path, {**body, "stream_options": options}, 75.0):
            now = _tokens(event)
            account.add(max(0, now - before))
            before = max(before, now)
            if now > 30:
                break
        account.ended(200 if before else 429)

    return _again_and_again(once, at_once)


def _again_and_again(once: Callable[[Server, Account], Awaitable[None]], at_once: int) -> Attempt:
    async def attempt(server: Server, account: Account, seconds: float) -> None:
        deadline = time.monotonic() + seconds

        async def client() -> None:
            while time.monotonic() < deadline:
                await once(server, account)
                await asyncio.sleep(PAUSE_SECONDS)

        clients = [asyncio.create_task(client()) for _ in range(at_once)]
        await asyncio.wait(clients, timeout=seconds)
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    return attempt


def _tokens(answer: Any) -> int:
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(usage, dict):
        return 0
    named = usage.get("total_tokens") or (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
    return int(named)
