#!/usr/bin/env python3
"""The operator with one more task in its event loop, which records how long the loop was blocked.

    measured_operator.py FILE        # and the operator's settings in the environment

FILE is mapped into memory: the time of the last beat (CLOCK_MONOTONIC), the longest gap since the reader set it to 0,
and the CPU time that the loop's thread took in that gap, as doubles, in seconds. A gap with little CPU time is one in
which the machine ran something else.
"""

from __future__ import annotations

import asyncio
import mmap
import runpy
import struct
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

PERIOD_SECONDS = 0.005
LAYOUT = struct.Struct("ddd")


async def _beat(memory: mmap.mmap) -> None:
    last, cpu_before = time.monotonic(), time.thread_time()
    while True:
        await asyncio.sleep(PERIOD_SECONDS)
        now, cpu = time.monotonic(), time.thread_time()
        gap = now - last - PERIOD_SECONDS
        _, longest, of_longest = LAYOUT.unpack_from(memory)
        if gap > longest:
            longest, of_longest = gap, cpu - cpu_before
        LAYOUT.pack_into(memory, 0, now, longest, of_longest)
        last, cpu_before = now, cpu


async def _with_beat(main: Coroutine[Any, Any, int], memory: mmap.mmap) -> int:
    beating = asyncio.create_task(_beat(memory))
    try:
        return await main
    finally:
        beating.cancel()


def main() -> None:
    """Run the operator."""
    import uvloop

    with Path(sys.argv[1]).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), LAYOUT.size)
    run = uvloop.run
    uvloop.run = lambda coroutine, **more: run(_with_beat(coroutine, memory), **more)  # type: ignore[assignment]
    sys.argv = ["llmservice_operator", "run"]
    runpy.run_module("llmservice_operator", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
