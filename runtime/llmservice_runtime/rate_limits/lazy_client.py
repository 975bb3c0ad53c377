"""The store's client, imported only if a service has a store: its library takes about 25 MB and half a second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmservice_runtime.rate_limits.script import Call

if TYPE_CHECKING:
    from llmservice_runtime.rate_limits.store import StoreClient


def load() -> type[StoreClient]:
    """The client; the first call imports its library."""
    from llmservice_runtime.rate_limits.store import StoreClient

    return StoreClient


class LazyStoreClient:
    """See StoreClient. The first use imports the library in a thread, so that the event loop is not blocked."""

    def __init__(self, address: str, tls: bool, credentials: Path | None, *, trusted: bool = False) -> None:
        self._arguments = (address, tls, credentials)
        self._trusted = trusted
        self._client: StoreClient | None = None

    async def resolve(self) -> None:
        """See StoreClient."""
        await (await self._loaded()).resolve()

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """See StoreClient."""
        return await (await self._loaded()).run(calls)

    async def aclose(self) -> None:
        """See StoreClient."""
        if self._client is not None:
            await self._client.aclose()

    async def _loaded(self) -> StoreClient:
        if self._client is None:
            self._client = (await asyncio.to_thread(load))(*self._arguments, trusted=self._trusted)
        return self._client
