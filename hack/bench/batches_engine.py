#!/usr/bin/env python3
"""Chat beside batches with real vLLM on CPUs: the time to the first token of chats, alone and with lines.

Rounds without lines, with lines as the project sends them, and with lines that do not wait for idle capacity take
turns, so that other load on the machine affects all. Chats arrive at random (Poisson), through the project's runtime.
Lines are sent by the pace of the process of batches.

    batches_engine.py --json FILE
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from gateway_parts.lines import quantile, send_lines
from llmservice_operator.batches.pace import Pace
from support.engine import Engine, make_model

KINDS = ("none", "idle", "plain")
CONCURRENCY = 64
PROMPT_TOKENS, CHAT_TOKENS, LINE_TOKENS = 100, 20, 60
SETTLE_SECONDS = 3.0
"""Between two rounds."""
MOST = 1.2
"""p99 beside lines, at most so many times that alone."""
NOISE = 1.2
"""The p99 of the rounds without lines, each by itself, differ by so much at most; otherwise something else has used the
machine, and the figures say nothing."""


@dataclass
class Figures:
    """What was measured in all rounds of one kind."""

    rounds: list[list[float]] = field(default_factory=list)
    """Seconds to the first token of each chat, by round."""
    lines: int = 0
    seconds: float = 0.0

    @property
    def first_tokens(self) -> list[float]:
        """Of all rounds."""
        return [each for found in self.rounds for each in found]


def body_of(chance: random.Random, tokens: int, **more: Any) -> dict[str, Any]:
    """A request whose prompt shares no prefix with another one."""
    prompt = [chance.randrange(10, 200) for _ in range(PROMPT_TOKENS)]
    return {"model": "tiny", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, **more}


async def chats(session: aiohttp.ClientSession, rate: float, seconds: float, figures: Figures, seed: int) -> None:
    """Chats for so long; returns once all are answered."""
    chance, loop = random.Random(seed), asyncio.get_running_loop()
    found: list[float] = []
    figures.rounds.append(found)

    async def one(body: dict[str, Any]) -> None:
        begun = loop.time()
        async with session.post("/v1/completions", json=body) as response:
            response.raise_for_status()
            await response.content.readuntil(b"\n")
            found.append(loop.time() - begun)
            await response.read()

    begun = loop.time()
    async with asyncio.TaskGroup() as tasks:
        while loop.time() - begun < seconds:
            await asyncio.sleep(chance.expovariate(rate))
            tasks.create_task(one(body_of(chance, CHAT_TOKENS, stream=True)))
    figures.seconds += loop.time() - begun


async def batch(session: aiohttp.ClientSession, is_idle: bool, figures: Figures, seed: int) -> None:
    """Lines without end."""
    chance, loop, pace = random.Random(seed), asyncio.get_running_loop(), Pace(CONCURRENCY)
    headers = {"X-Request-Class": "batch"} if is_idle else {}

    async def one() -> None:
        sent_at = loop.time()
        try:
            async with session.post("/v1/completions", json=body_of(chance, LINE_TOKENS), headers=headers) as response:
                await response.read()
                if response.status == 200:
                    figures.lines += 1
                    pace.answered()
                else:
                    pace.refused(loop.time(), float(response.headers.get("Retry-After", 1)), sent_at)
        except aiohttp.ClientError:
            pace.refused(loop.time(), 1.0, sent_at)

    await send_lines(pace, one, pace.may_send)


async def measure(url: str, options: argparse.Namespace) -> dict[str, Figures]:
    """All rounds."""
    found = {kind: Figures() for kind in KINDS}
    timeout, connector = aiohttp.ClientTimeout(total=300), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
        await chats(session, options.rate, 5.0, Figures(), seed=0)
        for number in range(options.rounds):
            for kind in KINDS:
                await asyncio.sleep(SETTLE_SECONDS)
                figures = found[kind]
                lines = None
                if kind != "none":
                    lines = asyncio.create_task(batch(session, kind == "idle", figures, seed=1000 + number))
                await chats(session, options.rate, options.seconds, figures, seed=1 + number)
                if lines is not None:
                    lines.cancel()
                    await asyncio.gather(lines, return_exceptions=True)
    return found


def main() -> int:
    """Prints the figures; status 1 if chat beside batches is slower than it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of each kind (6)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of one round (30)")
    parser.add_argument("--rate", type=float, default=4.0, help="chats per second (4)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Engine(Path(name), make_model(Path(name, "tiny"))) as engine:
        engine.wait_until_ready()
        found = asyncio.run(measure(f"http://127.0.0.1:{engine.port}", options))
    alone = [quantile(each, 0.99) for each in found["none"].rounds]
    noise = max(alone) / min(alone)
    p99 = {kind: quantile(each.first_tokens, 0.99) for kind, each in found.items()}
    report = {
        "engine": "vLLM on CPUs, a small model",
        "chats_per_second": options.rate,
        "chats": {kind: len(each.first_tokens) for kind, each in found.items()},
        "p50_ms": {kind: round(1000 * quantile(each.first_tokens, 0.5), 1) for kind, each in found.items()},
        "p99_ms": {kind: round(1000 * value, 1) for kind, value in p99.items()},
        "p99_of_rounds_without_lines_max_by_min": round(noise, 2),
        "p99_ratio": round(p99["idle"] / p99["none"], 3),
        "p99_ratio_without_the_header": round(p99["plain"] / p99["none"], 3),
        "lines_per_second": {kind: round(each.lines / each.seconds, 2) for kind, each in found.items()},
    }
    text = json.dumps(report, indent=2) + "\n"
    print(text, end="")
    if noise > NOISE:
        print("The machine was not quiet: the figures say nothing, and are not written.", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(text)
    return int(report["p99_ratio"] > MOST)


if __name__ == "__main__":
    raise SystemExit(main())
