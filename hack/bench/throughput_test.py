#!/usr/bin/env python3
"""Measures the throughput of a server with an OpenAI API with concurrent users, who are added during the ramp-up.

The figures are those of the --duration seconds after the ramp-up. Requests in flight at its end are cancelled; their
tokens until then count.

    hack/bench/throughput_test.py --model NAME --duration 60 --ramp-up 10 --concurrent-users 32
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving import loops, options
from serving.command import elapsed, execute, until_ended
from serving.run import Run, opened


async def load(run: Run, given: argparse.Namespace) -> None:
    """Users, and the beginning of what counts."""

    async def count_after_ramp_up() -> None:
        await asyncio.sleep(given.ramp_up)
        await run.begin()

    async with asyncio.TaskGroup() as group:
        group.create_task(count_after_ramp_up())
        group.create_task(loops.timed(run.ask, given.concurrent_users, given.duration, given.ramp_up))


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The load, and its figures."""
    async with opened(given) as run:
        total = given.ramp_up + given.duration
        interrupted = await until_ended(load(run, given), "seconds", total, elapsed(run))
        await run.end()
        return run.result() | {"interrupted": interrupted}


def main(arguments: list[str] | None = None) -> int:
    """Measure and tell."""
    parser = options.parser(__doc__)
    parser.add_argument("--duration", type=options.seconds, default=60.0, help="seconds after the ramp-up (60)")
    parser.add_argument("--ramp-up", type=options.pause, default=10.0, help="seconds over which users are added (10)")
    parser.add_argument("--concurrent-users", type=options.users, default=32, help="users after the ramp-up (32)")
    given = options.parse(parser, arguments)
    return execute("throughput_test", given, lambda: measure(given))


if __name__ == "__main__":
    sys.exit(main())
