"""Lines without end, as the benchmarks of batches send them."""

from __future__ import annotations

import asyncio
import contextlib

from gateway_parts.lines import quantile, send_lines
from llmservice_operator.batches.pace import Pace

MOST = 3


async def test_lines_follow_the_pace_and_end_with_it() -> None:
    pace, begun, in_work, most = Pace(MOST), 0, 0, 0
    full = asyncio.Event()

    async def line() -> None:
        nonlocal begun, in_work, most
        begun, in_work = begun + 1, in_work + 1
        most = max(most, in_work)
        if begun > 20 and in_work == MOST:
            full.set()
        try:
            await asyncio.sleep(3600 if begun > 20 else 0)
            pace.answered()
        finally:
            in_work -= 1

    sending = asyncio.create_task(send_lines(pace, line, pace.may_send))
    async with asyncio.timeout(5):
        await full.wait()
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    assert (most, in_work, pace.in_work) == (MOST, 0, 0)


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([3.0, 1.0, 2.0], part) for part in (0, 0.5, 1)] == [1, 2, 3]
