"""Prefix caching: the time to the first token of a new prompt, and of one with the same prefix."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmservice_operator.cli.bench.prompts import text
from overhead.servers import Fleet, Server, runtime
from serving import pages
from serving.client import Client, session
from serving.prompts import words_for

PREFIX_TOKENS, END_WORDS = 2000, 12
HITS = "vllm:prefix_cache_hits_total"
SETTINGS = {"on": "true", "off": "false"}
TIMEOUT_SECONDS = 120.0


async def measure(fleet: Fleet, model: Path, prefixes: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """One engine with the cache and one without, asked the same."""
    started = {
        name: runtime(fleet, f"prefixes-{name}", model, {"ENABLE_PREFIX_CACHING": value})
        for name, value in SETTINGS.items()
    }
    found: dict[str, Any] = {"prefix_tokens": PREFIX_TOKENS, "prefixes": prefixes}
    for name, server in started.items():
        found[name] = assemble(await ask_pairs(fleet.ready(server), prefixes, random.Random(seed)))
        say(f"prefixes, caching {name}")
    return found


async def ask_pairs(server: Server, prefixes: int, rng: random.Random) -> list[dict[str, float]]:
    """For each fresh prefix: both times, and the tokens that came out of the cache for each prompt."""
    url = f"http://127.0.0.1:{server.port}"
    async with session(server.key or None, TIMEOUT_SECONDS) as http:
        client = Client(http, url, server.model, {"temperature": 0, "ignore_eos": True})
        words = await words_for(PREFIX_TOKENS, client.count)

        async def ask(prompt: str, name: str) -> dict[str, float]:
            before = (await pages.look(http, server.metrics_url))[HITS]
            answer = await client.ask(prompt, 1, lambda _: None)
            if not answer.succeeded:
                raise SystemExit(f"{server.name}: {answer.error}: {answer.detail}")
            hits = (await pages.look(http, server.metrics_url))[HITS] - before
            return {f"{name}_s": answer.first_token, f"{name}_hits": hits, f"{name}_tokens": answer.prompt_tokens}

        await ask(text(words, rng), "warm")
        pairs = []
        for _ in range(prefixes):
            prefix = text(words, rng)
            first = await ask(prefix + text(END_WORDS, rng), "first")
            pairs.append(first | await ask(prefix + text(END_WORDS, rng), "second"))
        return pairs


def assemble(pairs: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of the prefixes; of the cache's hits the least, and for a fresh prefix the most."""
    return {
        "prompt_tokens": round(statistics.median(each["first_tokens"] for each in pairs)),
        "first_ttft_ms": round(statistics.median(each["first_s"] for each in pairs) * 1000, 1),
        "second_ttft_ms": round(statistics.median(each["second_s"] for each in pairs) * 1000, 1),
        "ttft_ratio": round(statistics.median(each["second_s"] / each["first_s"] for each in pairs), 3),
        "hit_tokens": {
            "first_most": round(max(each["first_hits"] for each in pairs)),
            "second_least": round(min(each["second_hits"] for each in pairs)),
            "second_most": round(max(each["second_hits"] for each in pairs)),
        },
    }
