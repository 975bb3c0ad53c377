"""Prompts of a wanted number of tokens, as `kubectl llm bench` makes them, for ever."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator

from llmservice_operator.cli.bench.prompts import adjusted, text

TRIES = 6


async def words_for(tokens: int, count: Callable[[str], Awaitable[int]]) -> int:
    """How many words make the number of tokens that comes closest, by asking the server a few times."""
    best, found = tokens, await count(text(tokens, random.Random(0)))
    words = tokens
    for _ in range(TRIES):
        if found == tokens:
            break
        words = adjusted(words, found, tokens)
        seen = await count(text(words, random.Random(0)))
        if abs(seen - tokens) >= abs(found - tokens):
            break
        best, found = words, seen
    return best


def prompts(words: int, rng: random.Random) -> Iterator[str]:
    """New prompts for ever."""
    while True:
        yield text(words, rng)
