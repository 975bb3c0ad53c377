"""Futures that are awaited together; waiting cancels none of them."""

from __future__ import annotations

import asyncio
from asyncio import Future
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_any(*futures: Future[Any], within: float | None = None) -> None:
    """Returns when one of the futures is done, or after `within` seconds."""
    await asyncio.wait(futures, timeout=within, return_when=asyncio.FIRST_COMPLETED)


def resolve_once(future: Future[T], value: T) -> None:
    """Sets the result, unless the future has one."""
    if not future.done():
        future.set_result(value)
