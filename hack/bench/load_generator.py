#!/usr/bin/env python3
"""Sends load to a server with an OpenAI API for a limited time: open loop (--rate) or closed (--concurrent-users).

In an open loop requests arrive as a Poisson process, whether the server keeps up or not: a server that is too slow
gets a queue. In a closed loop each user waits for its answer before it sends again. After --duration seconds, or at
Ctrl-C, it prints the figures.

    hack/bench/load_generator.py --model NAME --rate 5 --duration 60
    hack/bench/load_generator.py --model NAME --concurrent-users 16 --duration 60
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from llmservice_operator.cli.bench.figures import arrivals
from serving import loops, options
from serving.command import elapsed, execute, until_ended
from serving.run import Run, opened

HIGHEST_RATE = 10000.0


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The load, and its figures."""
    async with opened(given) as run:
        shed: list[int] = []
        await run.begin()
        interrupted = await until_ended(load(run, given, shed), "seconds", given.duration, elapsed(run))
        await run.end()
        return run.result() | {"not_sent": sum(shed), "interrupted": interrupted}


async def load(run: Run, given: argparse.Namespace, shed: list[int]) -> None:
    """The loop that was asked for."""
    if given.rate is None:
        await loops.timed(run.ask, given.concurrent_users, given.duration)
    else:
        times = arrivals(given.rate, given.duration, run.rng)
        shed.append(await loops.open_loop(run.ask, times, given.most_in_flight, given.grace))


def rate(text: str) -> float:
    """Requests per second."""
    if not 0 < (value := float(text)) <= HIGHEST_RATE:
        raise argparse.ArgumentTypeError(f"it is above 0 and at most {HIGHEST_RATE:g}")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Put the load on and tell."""
    parser = options.parser(__doc__)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--rate", type=rate, help="open loop: requests that arrive each second, on average")
    kind.add_argument("--concurrent-users", type=options.users, help="closed loop: users who wait for their answers")
    parser.add_argument("--duration", type=options.seconds, default=60.0, help="seconds (60)")
    parser.add_argument(
        "--most-in-flight", type=options.users, default=1024, help="open loop: what arrives above it is not sent (1024)"
    )
    parser.add_argument(
        "--grace", type=options.pause, default=30.0, help="open loop: seconds for the last answers (30)"
    )
    given = options.parse(parser, arguments)
    return execute("load_generator", given, lambda: measure(given))


if __name__ == "__main__":
    sys.exit(main())
