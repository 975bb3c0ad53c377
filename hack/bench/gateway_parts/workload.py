"""Requests and their moments: a part of Mooncake's trace of conversations, and the same without common prefixes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway_parts.model import BLOCK_TOKENS
from gateway_parts.stub import BLOCK_BYTES, BYTES_PER_TOKEN, MODEL

TRACE = Path(__file__).with_name("mooncake_conversation.csv")
"""Every eighth conversation of Mooncake's conversation_trace.jsonl (licence: LICENSE.mooncake): input tokens, output
tokens, and the hashes of the prompt's blocks of 512 tokens, each of which covers those before it. Whole conversations,
so that requests share as much as in the whole trace."""


@dataclass(frozen=True)
class Row:
    """A request of the trace."""

    prompt_tokens: int
    output_tokens: int
    blocks: Sequence[int]


@dataclass(frozen=True)
class Request:
    """A request as it is sent."""

    at: float
    """Seconds after the start."""
    client: int
    """Which of the applications sends it: all requests of a conversation come from one."""
    output_tokens: int
    body: bytes


def read_trace(path: Path = TRACE) -> list[Row]:
    """The rows, in their order."""
    rows = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            prompt, output, blocks = line.split(",")
            rows.append(Row(int(prompt), int(output), tuple(_numbers(blocks))))
    return rows


def _numbers(text: str) -> Iterator[int]:
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def without_prefixes(rows: Iterable[Row]) -> list[Row]:
    """The same requests with blocks of their own."""
    following, found = 10_000_000, []
    for row in rows:
        found.append(Row(row.prompt_tokens, row.output_tokens, range(following, following + len(row.blocks))))
        following += len(row.blocks)
    return found


def share_in_an_unlimited_cache(rows: Iterable[Row]) -> float:
    """The part of all prompt tokens that one cache would have that forgets nothing: no hit rate can be higher."""
    seen: set[int] = set()
    hits = tokens = 0
    for row in rows:
        whole = row.blocks[: (row.prompt_tokens - 1) // BLOCK_TOKENS]
        known = next((number for number, block in enumerate(whole) if block not in seen), len(whole))
        hits += known * BLOCK_TOKENS
        tokens += row.prompt_tokens
        seen.update(row.blocks[: row.prompt_tokens // BLOCK_TOKENS])
    return hits / tokens


def requests(rows: Sequence[Row], per_second: float, clients: int, seed: int) -> list[Request]:
    """Chats that arrive at random moments, so many a second on average, in the trace's order.

    The trace's own times are rounded to three seconds.
    """
    chance, at, found = random.Random(seed), 0.0, []
    for row in rows:
        at += chance.expovariate(per_second)
        # The first block is the same in all conversations; the second one tells them apart.
        client = hash(row.blocks[min(1, len(row.blocks) - 1)]) % clients
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": text(row)}],
            "stream": True,
            "max_tokens": row.output_tokens,
        }
        found.append(Request(at, client, row.output_tokens, json.dumps(body).encode()))
    return found


_WORDS = [f"{number * 7919 % 9973:04d} ab " for number in range(512)]


def text(row: Row) -> str:
    """A prompt of four bytes for each token, in which the same blocks have the same text."""
    parts = []
    for block in row.blocks:
        start = f"{block:012d} "
        filler = _WORDS[block % 512 :] + _WORDS[: block % 512]
        parts.append((start + "".join(filler))[:BLOCK_BYTES])
    return "".join(parts)[: row.prompt_tokens * BYTES_PER_TOKEN]
