#!/usr/bin/env python3
"""Measures the latency of a server with an OpenAI API: a number of requests from concurrent users (closed loop).

hack/bench/latency_test.py --url http://localhost:8000 --model NAME --num-requests 200 --concurrent-users 8
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving import loops, options
from serving.command import execute, until_ended
from serving.run import opened


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The load, and its figures."""
    async with opened(given) as run:
        await run.begin()
        load = loops.closed(run.ask, given.concurrent_users, given.num_requests)
        interrupted = await until_ended(load, "requests", given.num_requests, lambda: len(run.answers))
        await run.end()
        return run.result() | {"interrupted": interrupted}


def main(arguments: list[str] | None = None) -> int:
    """Measure and tell."""
    parser = options.parser(__doc__)
    parser.add_argument("--num-requests", type=options.count, default=100, help="requests in all (100)")
    parser.add_argument("--concurrent-users", type=options.users, default=1, help="requests in flight (1)")
    given = options.parse(parser, arguments)
    return execute("latency_test", given, lambda: measure(given))


if __name__ == "__main__":
    sys.exit(main())
