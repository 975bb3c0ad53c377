"""Things that happen once, as futures: they are waited for together, and none is lost by that."""

from __future__ import annotations

import asyncio
from asyncio import Future
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_any(*futures: Future[Any], within: float | None = None) -> None:
    """Returns when one of them has happened, or the time is over."""
    await asyncio.wait(futures, timeout=within, return_when=asyncio.FIRST_COMPLETED)


def resolve_once(future: Future[T], value: T) -> None:
    """It happens now, unless it has."""
    if not future.done():
        future.set_result(value)
