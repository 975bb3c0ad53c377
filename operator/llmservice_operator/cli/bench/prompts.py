"""Prompts of a wanted number of tokens for a server whose tokenizer is not known.

Each prompt is the same words in another order. A tokenizer that splits at spaces, as those of common models do, makes
as many tokens of each, so that one count by the server holds for all; and no two share a beginning that a prefix cache
would know.
"""

from __future__ import annotations

import random
from itertools import cycle, islice

_WORDS = "the of and to in is that for it with as on by this or are be from at which"
WORDS = _WORDS.split()


def text(words: int, rng: random.Random) -> str:
    """That many words in random order."""
    chosen = list(islice(cycle(WORDS), words))
    rng.shuffle(chosen)
    return " " + " ".join(chosen)


def adjusted(words: int, found: int, tokens: int) -> int:
    """How many words come closer to ``tokens`` tokens, if ``words`` words are ``found`` tokens."""
    return max(1, words + (round((tokens - found) * words / found) or (1 if tokens > found else -1)))
