"""Rate limits that all replicas of a service count together, in a Redis or Valkey.

The store's own clock tells the time, so the replicas' clocks need not agree. A key that has done nothing for a minute
leaves nothing in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from llmservice_contract.policy import Store
from llmservice_runtime.front.limits import script
from llmservice_runtime.front.limits.courier import BATCH_SECONDS, Courier
from llmservice_runtime.front.limits.limiter import Ask, Denial, Grant, denial
from llmservice_runtime.front.limits.on_demand import ClientOnDemand
from llmservice_runtime.front.limits.script import Call


class SharedLimiter:
    """A Limiter that raises StoreUnavailable where its store does not answer in time."""

    def __init__(
        self,
        store: Store,
        credentials: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        """`credentials`: a directory with the files username, password and, for TLS, ca.crt, each of them optional."""
        self._prefix = f"{store.prefix}rate:"
        client = ClientOnDemand(store.address, store.tls, credentials)
        self._courier = Courier(client, store.address, clock, batch_seconds)

    async def reserve(self, ask: Ask) -> Grant | Denial:
        """See Limiter. What a cancelled caller has reserved is taken back."""
        key = self._prefix + ask.key_id

        def undo(reply: list[int]) -> Call | None:
            answer = script.verdict(reply)
            return script.settle(key, answer.slot, -ask.tokens) if answer.granted and ask.tokens else None

        answer = script.verdict(await self._courier.ask(script.reserve(key, ask), undo))
        stands = answer.standing(ask.limit)
        if not answer.granted:
            return denial(ask, stands, answer.wait_requests, answer.wait_tokens)
        return Grant(ask, stands, answer.slot, shared=True)

    async def settle(self, grant: Grant, tokens: int) -> None:
        """See Limiter."""
        if tokens != grant.ask.tokens:
            self._courier.tell(script.settle(self._prefix + grant.ask.key_id, grant.slot, tokens - grant.ask.tokens))

    async def aclose(self) -> None:
        """Ends its connections. Asks that wait raise StoreUnavailable."""
        await self._courier.aclose()
