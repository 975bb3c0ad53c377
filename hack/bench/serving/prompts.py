"""Prompts of a wanted number of tokens for a server whose tokenizer is not known.

Each prompt is the same words in another order. A tokenizer that splits at spaces, as those of common models do, makes
as many tokens of each, so that one count by the server holds for all; and no two share a beginning that a prefix cache
would know.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle, islice

_WORDS = "the of and to in is that for it with as on by this or are be from at which"
WORDS = _WORDS.split()
TRIES = 6


async def words_for(tokens: int, count: Callable[[str], Awaitable[int]]) -> int:
    """How many words make the number of tokens that comes closest, by asking the server a few times."""
    best, found = tokens, await count(text(tokens, random.Random(0)))
    words = tokens
    for _ in range(TRIES):
        if found == tokens:
            break
        words = max(1, words + (round((tokens - found) * words / found) or (1 if tokens > found else -1)))
        seen = await count(text(words, random.Random(0)))
        if abs(seen - tokens) >= abs(found - tokens):
            break
        best, found = words, seen
    return best


def text(words: int, rng: random.Random) -> str:
    """That many words in random order."""
    chosen = list(islice(cycle(WORDS), words))
    rng.shuffle(chosen)
    return " " + " ".join(chosen)


def prompts(words: int, rng: random.Random) -> Iterator[str]:
    """New prompts for ever."""
    while True:
        yield text(words, rng)
