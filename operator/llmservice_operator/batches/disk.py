"""The thread that uses the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Disk:
    """The thread that uses the store: one call after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "store")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a function that blocks. It ends even if the caller is cancelled."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))
        return await asyncio.shield(work)

    def close(self) -> None:
        """Returns once its last call has ended."""
        self._thread.shutdown()
