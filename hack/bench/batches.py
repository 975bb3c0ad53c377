#!/usr/bin/env python3
"""Chat beside batches: the time to the first token of chats, alone and with a batch in the same engine.

The engine is the model of gateway_parts/model.py, in virtual time: the figures are the same on every machine. The
project's own code decides when a line runs: the pace of the process of batches, and the idle capacity in the engine's
gateway. Chats arrive at random (Poisson) with prompts and answers of random lengths.

    batches.py --json FILE
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway_parts.lines import quantile, send_lines
from gateway_parts.model import Engine, Job, Settings
from llmservice_operator.batches.pace import Pace
from llmservice_runtime.gateway.idle_capacity import IdleCapacity, Visit

SECONDS = 1800.0
RATES = (2.0, 5.0, 10.0, 20.0)
"""Chats per second; the last one uses most of the engine."""
CONCURRENCY = 64
PROMPT, ANSWER = 1000, 150
"""Means of the lengths of chats and lines."""
LONGEST_PROMPT = 8000


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while nothing can run, and then at once."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._selector: Any
        self._selector.select = self._pass_time

    def time(self) -> float:
        """Seconds since its start."""
        return self._seconds

    def _pass_time(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits, and no time is set at which it ends")
        self._seconds += max(0.0, timeout)
        return []


class Progress:
    """As the gateway knows a request in the engine."""

    def __init__(self) -> None:
        self.has_begun = False
        self.first_token_seconds: float | None = None


@dataclass
class Figures:
    """What was measured."""

    first_tokens: list[float] = field(default_factory=list)
    lines: int = 0
    displaced: int = 0


class Replica:
    """An engine in virtual time."""

    def __init__(self) -> None:
        self._engine = Engine(Settings(cache_blocks=4000))
        self._work = asyncio.Event()
        self._first: dict[Job, asyncio.Future[None]] = {}
        self._last: dict[Job, asyncio.Future[None]] = {}

    async def run(self) -> None:
        """Computes until cancelled."""
        while True:
            seconds = self._engine.step()
            if seconds is None:
                self._work.clear()
                await self._work.wait()
                continue
            await asyncio.sleep(seconds)
            produced = self._engine.finish()
            for job in produced.generated:
                if not self._first[job].done():
                    self._first[job].set_result(None)
            for job in produced.finished:
                self._last[job].set_result(None)

    async def answer(self, job: Job, progress: Progress) -> float:
        """Returns once a request is answered: the seconds to its first token."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._first[job], self._last[job] = loop.create_future(), loop.create_future()
        self._engine.add(job)
        self._work.set()
        try:
            await self._first[job]
            progress.first_token_seconds = loop.time() - begun
            progress.has_begun = True
            await self._last[job]
        finally:
            if not self._last[job].done():
                self._engine.drop(job)
            del self._first[job], self._last[job]
        return progress.first_token_seconds


def job_of(chance: random.Random) -> Job:
    """A request without a prefix that another one has."""
    prompt = min(LONGEST_PROMPT, 1 + int(chance.lognormvariate(6.5, 0.9)))
    return Job((), prompt, 1 + int(chance.expovariate(1 / ANSWER)))


async def chats(replica: Replica, capacity: IdleCapacity, rate: float, figures: Figures) -> None:
    """Chats for SECONDS."""
    chance, loop = random.Random(1), asyncio.get_running_loop()
    until = loop.time() + SECONDS

    async def one(job: Job) -> None:
        with capacity.other() as visit:
            visit.progress = progress = Progress()
            figures.first_tokens.append(await replica.answer(job, progress))

    async with asyncio.TaskGroup() as tasks:
        while loop.time() < until:
            await asyncio.sleep(chance.expovariate(rate))
            tasks.create_task(one(job_of(chance)))


async def batch(replica: Replica, capacity: IdleCapacity, is_idle: bool, figures: Figures) -> None:
    """Lines without end; with ``is_idle`` as the project sends them, otherwise CONCURRENCY at any time."""
    chance, loop, pace = random.Random(2), asyncio.get_running_loop(), Pace(CONCURRENCY)

    async def compute(visit: Visit | None) -> None:
        progress = Progress()
        answer = asyncio.create_task(replica.answer(job_of(chance), progress))
        if visit is not None:
            visit.progress = progress
            visit.displace = answer.cancel
        try:
            await answer
        except asyncio.CancelledError:
            answer.cancel()
            figures.displaced += 1
            raise
        figures.lines += 1

    async def one() -> None:
        sent_at = loop.time()
        try:
            if not is_idle:
                await compute(None)
                return
            async with capacity.of_a_batch() as visit:
                if visit is None:
                    pace.refused(loop.time(), 1.0, sent_at)
                    return
                await compute(visit)
            pace.answered()
        except asyncio.CancelledError:
            pace.refused(loop.time(), 1.0, sent_at)

    await send_lines(pace, one, pace.may_send if is_idle else lambda _: pace.in_work < CONCURRENCY)


async def measure(rate: float, lines: str) -> Figures:
    """One run. ``lines``: none, idle, plain."""
    figures, replica = Figures(), Replica()
    capacity = IdleCapacity(asyncio.get_running_loop().time)
    background = [asyncio.create_task(replica.run())]
    if lines != "none":
        background.append(asyncio.create_task(batch(replica, capacity, lines == "idle", figures)))
    if rate:
        await chats(replica, capacity, rate, figures)
    else:
        await asyncio.sleep(SECONDS)
    for task in reversed(background):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return figures


def run(rate: float, lines: str) -> Figures:
    """One run in virtual time."""
    loop = VirtualTime()
    try:
        return loop.run_until_complete(measure(rate, lines))
    finally:
        loop.close()


def main() -> int:
    """Prints the figures; status 1 if chat beside batches is slower than it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    report: dict[str, Any] = {"seconds": SECONDS, "time": "virtual", "chats": []}
    alone = run(0, "idle")
    report["lines_per_second_without_chat"] = round(alone.lines / SECONDS, 2)
    report["lines_per_second_without_chat_all_at_once"] = round(run(0, "plain").lines / SECONDS, 2)
    worst = 0.0
    for rate in RATES:
        found = {lines: run(rate, lines) for lines in ("none", "idle", "plain")}
        p99 = {lines: quantile(each.first_tokens, 0.99) for lines, each in found.items()}
        p50 = {lines: quantile(each.first_tokens, 0.5) for lines, each in found.items()}
        ratio = p99["idle"] / p99["none"]
        worst = max(worst, ratio)
        report["chats"].append(
            {
                "per_second": rate,
                "p50_ms": {lines: round(1000 * value, 1) for lines, value in p50.items()},
                "p99_ms": {lines: round(1000 * value, 1) for lines, value in p99.items()},
                "p99_ratio": round(ratio, 3),
                "p99_ratio_without_the_header": round(p99["plain"] / p99["none"], 3),
                "lines_per_second": {lines: round(found[lines].lines / SECONDS, 2) for lines in ("idle", "plain")},
            }
        )
    report["worst_p99_ratio"] = round(worst, 3)
    text = json.dumps(report, indent=2) + "\n"
    print(text, end="")
    if options.json:
        options.json.write_text(text)
    return int(worst > 1.2)


if __name__ == "__main__":
    raise SystemExit(main())
