"""How requests follow each other: a fixed number of users (closed loop), or arrivals at a rate (open loop).

`ask` sends one request and says whether it was answered. All end when their task is cancelled, requests in flight
included.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

Ask = Callable[[], Awaitable[bool]]
PAUSE_SECONDS = 0.5
"""A user of a timed load waits this long after an error, so that a server that refuses is not flooded."""


async def closed(ask: Ask, users: int, requests: int) -> None:
    """Sends `requests` requests in all, from `users` users."""
    left = iter(range(requests))

    async def user() -> None:
        for _ in left:
            await ask()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(users, requests)):
            group.create_task(user())


async def timed(ask: Ask, users: int, seconds: float, ramp_up: float = 0.0) -> None:
    """Users that are added evenly over the ramp-up, then all of them for `seconds`; then requests in flight are cut."""

    async def user(delay: float) -> None:
        await asyncio.sleep(delay)
        while True:
            if not await ask():
                await asyncio.sleep(PAUSE_SECONDS)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ramp_up + seconds), asyncio.TaskGroup() as group:
            for number in range(users):
                group.create_task(user(ramp_up * number / users))


async def open_loop(ask: Ask, times: Iterable[float], most: int, grace: float) -> int:
    """A request at each of the times, however many are in flight, up to `most`; returns how many were not sent for it.

    Requests that are in flight at the last arrival have `grace` seconds to end, then they are cut.
    """
    loop = asyncio.get_running_loop()
    began, shed = loop.time(), 0
    flying: set[asyncio.Task[bool]] = set()

    async def one() -> bool:
        return await ask()

    try:
        for at in times:
            await asyncio.sleep(max(0.0, began + at - loop.time()))
            if len(flying) >= most:
                shed += 1
                continue
            task = asyncio.create_task(one())
            flying.add(task)
            task.add_done_callback(flying.discard)
        if flying:
            await asyncio.wait(flying, timeout=grace)
    finally:
        for task in (rest := list(flying)):
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
    return shed
