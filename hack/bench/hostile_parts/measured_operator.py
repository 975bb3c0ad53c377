#!/usr/bin/env python3
"""The operator as it is, with one more task in its event loop: it notes how long the loop did nothing else.

    measured_operator.py FILE        # and the operator's settings in the environment

FILE is mapped into memory: the time of the last beat (CLOCK_MONOTONIC) and the longest gap since the reader set it to
0, both as doubles, in seconds.
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
LAYOUT = struct.Struct("dd")


async def _beat(memory: mmap.mmap) -> None:
    last = time.monotonic()
    while True:
        await asyncio.sleep(PERIOD_SECONDS)
        now = time.monotonic()
        gap = now - last - PERIOD_SECONDS
        _, longest = LAYOUT.unpack_from(memory)
        LAYOUT.pack_into(memory, 0, now, max(longest, gap))
        last = now


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
