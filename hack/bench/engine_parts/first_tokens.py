"""The time to the first token in an open loop: requests arrive at a rate that does not depend on the server."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

from llmservice_operator.cli.bench.figures import arrivals
from overhead.servers import Fleet, Server, runtime
from serving import loops
from serving.answer import Answer
from serving.client import Client, session
from serving.figures import distribution, times
from serving.prompts import prompts, words_for

PROMPT_TOKENS, ANSWER_TOKENS = 64, 16
MOST_IN_FLIGHT, GRACE_SECONDS, TIMEOUT_SECONDS = 512, 30.0, 60.0
WARM_UP = 16


async def measure(fleet: Fleet, model: Path, rate: float, requests: int, seed: int) -> dict[str, Any]:
    """So many requests, streamed, at so many a second."""
    return await load(fleet.ready(runtime(fleet, "first-tokens", model, {})), rate, requests, random.Random(seed))


async def load(server: Server, rate: float, requests: int, rng: random.Random) -> dict[str, Any]:
    """Arrivals are a Poisson process; prompts are of one length and share no beginning."""
    answers: list[Answer] = []
    async with session(server.key or None, TIMEOUT_SECONDS) as http:
        sampling = {"temperature": 0, "ignore_eos": True}
        client = Client(http, f"http://127.0.0.1:{server.port}", server.model, sampling)
        made = prompts(await words_for(PROMPT_TOKENS, client.count), rng)

        async def ask() -> bool:
            return (await client.ask(next(made), ANSWER_TOKENS, answers.append)).succeeded

        await loops.closed(ask, 4, WARM_UP)
        answers.clear()
        moments = list(itertools.islice(arrivals(rate, math.inf, rng), requests))
        not_sent = await loops.open_loop(ask, moments, MOST_IN_FLIGHT, GRACE_SECONDS)
    return {"requests_per_s": rate, "seconds": round(moments[-1], 1)} | assemble(answers, not_sent)


def assemble(answers: list[Answer], not_sent: int) -> dict[str, Any]:
    """What was asked, and the times of it."""
    whole = [each for each in answers if each.succeeded]
    return {
        "requests": len(answers),
        "prompt_tokens": sorted({each.prompt_tokens for each in whole}),
        "answer_tokens": sorted({each.output_tokens for each in whole}),
        "failed": not_sent + len(answers) - len(whole),
        "ttft_ms": distribution(times(whole)["ttft_ms"]),
    }
