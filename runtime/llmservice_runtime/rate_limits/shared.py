"""Rate limits that all replicas of a service count together, in a Redis or Valkey.

The time is that of the store's clock, so the replicas' clocks need not agree. A key without requests for a minute has
no data in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from llmservice_contract.policy import Store
from llmservice_runtime.rate_limits import script
from llmservice_runtime.rate_limits.batching_client import BATCH_SECONDS, BatchingStoreClient
from llmservice_runtime.rate_limits.lazy_client import LazyStoreClient
from llmservice_runtime.rate_limits.limiter import Ask, Denial, Grant, denial
from llmservice_runtime.rate_limits.script import Call


class SharedLimiter:
    """A Limiter that raises StoreUnavailable if its store does not answer in time."""

    def __init__(
        self,
        store: Store,
        credentials: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        """`credentials`: a directory with the files username, password and, for TLS, ca.crt, each of them optional."""
        self._prefix = f"{store.prefix}rate:"
        client = LazyStoreClient(store.address, store.tls, credentials, trusted=store.trusted)
        self._courier = BatchingStoreClient(client, store.address, clock, batch_seconds)

    async def reserve(self, ask: Ask) -> Grant | Denial:
        """See Limiter. The reservation of a cancelled caller is removed."""
        key = self._prefix + ask.key_id

        def undo(reply: list[int]) -> Call | None:
            answer = script.verdict(reply)
            return script.charge(key, answer.slot, ask, ask.tokens) if answer.granted and ask.tokens else None

        answer = script.verdict(await self._courier.ask(script.reserve(key, ask), undo))
        stands = answer.standing(ask.limit)
        if not answer.granted:
            return denial(ask, stands, answer.wait_requests, answer.wait_tokens)
        return Grant(ask, stands, answer.slot, shared=True)

    def charge(self, grant: Grant, used: int, held: int) -> None:
        """See Limiter. A charge that could not be sent is sent with the next charge of the same request."""
        grant.owed += used
        grant.keeps = held
        if not grant.is_sending and (grant.owed or held or grant.held):
            self._tell(grant)

    def _tell(self, grant: Grant) -> None:
        used, held = grant.owed, grant.keeps
        grant.owed, grant.is_sending = 0, True

        def then(reply: list[int] | None) -> None:
            grant.is_sending = False
            if reply is None:
                grant.owed += used
                grant.exceeded = False
                return
            grant.slot, grant.held, grant.exceeded = reply[0], held, bool(reply[1])
            if grant.owed or grant.keeps != held:
                self._tell(grant)

        call = script.charge(self._prefix + grant.ask.key_id, grant.slot, grant.ask, grant.held, used, held)
        self._courier.tell(call, then)

    async def aclose(self) -> None:
        """Closes the connections. Waiting calls raise StoreUnavailable."""
        await self._courier.aclose()
