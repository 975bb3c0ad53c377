"""What the benchmarks of chat beside batches share: lines without end, and quantiles."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from llmservice_operator.batches.pace import Pace


async def send_lines(pace: Pace, line: Callable[[], Awaitable[None]], may_send: Callable[[float], bool]) -> None:
    """Sends a line whenever ``may_send`` of the loop's time says so, until cancelled; then it ends those in work."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    async def one() -> None:
        try:
            await line()
        finally:
            pace.in_work -= 1
            ended.set()

    running: set[asyncio.Task[None]] = set()
    try:
        while True:
            ended.clear()
            while may_send(loop.time()):
                pace.in_work += 1
                task = asyncio.create_task(one())
                running.add(task)
                task.add_done_callback(running.discard)
            wait = max(0.01, pace.resumes_at - loop.time()) if pace.in_work < pace.limit else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), wait)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def quantile(values: list[float], part: float) -> float:
    """A quantile, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
