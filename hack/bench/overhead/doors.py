"""One vLLM with and without the gateway: a middleware for vLLM's --middleware. For vLLM's environment.

Two processes of one command line differ by more than the gateway costs, so the same process is measured with and
without it. A request with the header BARE bypasses the gateway, and the runtime's counts per step pause meanwhile; so
concurrent requests must all be of the same kind.
"""

from __future__ import annotations

from typing import Any

from llmservice_runtime.gateway import Gateway
from llmservice_runtime.vllm_plugins import stat_logger
from overhead.servers import DOOR_OF_BARE

BARE = next((name.encode(), value.encode()) for name, value in DOOR_OF_BARE.items())


class Doors:
    """Leads each request through its door."""

    def __init__(self, app: Any) -> None:
        self._bare, self._front = app, Gateway(app)
        self._counts = True
        record = stat_logger.StatLogger.record

        def record_unless_bare(*arguments: Any, **named: Any) -> None:
            if self._counts:
                record(*arguments, **named)

        stat_logger.StatLogger.record = record_unless_bare  # type: ignore[method-assign]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self._counts = BARE not in scope["headers"]
            if not self._counts:
                await self._bare(scope, receive, send)
                return
        await self._front(scope, receive, send)
