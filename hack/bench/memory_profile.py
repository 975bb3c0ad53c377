#!/usr/bin/env python3
"""Measures the memory of a server with an OpenAI API by batch size: concurrent requests, and /metrics meanwhile.

The memory is that of the GPUs (llm_gpu_memory_usage_bytes); without GPUs, that of the server's process and the usage of
its KV cache. vLLM allocates its KV cache at start, so the memory hardly changes with the batch size.

    hack/bench/memory_profile.py --model NAME --batch-sizes 1,4,16,64
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving import loops, options, pages
from serving.command import execute, until_ended
from serving.run import Run, opened

LOOK_SECONDS = 0.25


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Each batch size, one after the other."""
    batches: list[dict[str, Any]] = []
    for size in given.batch_sizes:
        async with opened(given) as run:
            looks: list[dict[str, float | bool | None]] = []
            await run.begin()
            load = watched(run, size, looks)
            interrupted = await until_ended(load, f"{size} at once", size, answered(run))
            await run.end()
            batches.append({"batch_size": size} | run.result() | {"memory": pages.peak(looks)})
        if interrupted:
            return {"batches": batches, "interrupted": True}
    return {"batches": batches, "interrupted": False}


def answered(run: Run) -> Callable[[], float]:
    """How far it is."""
    return lambda: len(run.answers)


async def watched(run: Run, size: int, looks: list[dict[str, float | bool | None]]) -> None:
    """One batch, and looks at the memory while it runs; there is one in any case."""
    load = asyncio.create_task(loops.closed(run.ask, size, size))
    try:
        while True:
            looks.append(pages.memory(await run.look()))
            if (await asyncio.wait({load}, timeout=LOOK_SECONDS))[0]:
                return load.result()
    finally:
        load.cancel()
        await asyncio.wait({load})
        if not looks:
            looks.append(pages.memory({}))


def sizes(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [options.users(each) for each in text.split(",")]


def main(arguments: list[str] | None = None) -> int:
    """Measure and tell."""
    parser = options.parser(__doc__)
    parser.add_argument("--batch-sizes", type=sizes, default=[1, 4, 16, 64], help="requests at once (1,4,16,64)")
    given = options.parse(parser, arguments)
    return execute("memory_profile", given, lambda: measure(given))


if __name__ == "__main__":
    sys.exit(main())
