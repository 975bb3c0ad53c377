"""The rate limits of the current access policy.

Without tiers nothing is counted. Without a store each replica counts alone; with one, all count together. While the
store does not answer, the policy's onFailure decides whether each replica counts alone or requests are refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from llmservice_contract.policy import OnFailure, Policy, RateLimit, Store
from llmservice_runtime.rate_limits.lazy_client import load
from llmservice_runtime.rate_limits.limiter import NOT_COUNTED, Ask, Denial, Grant, LimitState, StoreUnavailable
from llmservice_runtime.rate_limits.memory import MemoryLimiter
from llmservice_runtime.rate_limits.shared import SharedLimiter

NO_LIMIT = RateLimit()


class PolicyLimiter:
    """A Limiter that follows the policy. Raises StoreUnavailable only if the policy says onFailure: Closed."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        credentials: Path | None,
        on_store_failure: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[Store, Path | None], SharedLimiter] = SharedLimiter,
    ) -> None:
        """`credentials`: the directory of the store's login. `on_store_failure`: called for each call that fails."""
        self._policy = policy
        if policy().store is not None:
            load()
        self._credentials = credentials
        self._on_store_failure = on_store_failure
        self._connect = connect
        self._memory = MemoryLimiter(clock)
        self._shared: SharedLimiter | None = None
        self._store: tuple[str, bool, str, bool] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def reserve(self, ask: Ask) -> Grant | Denial:
        """See Limiter."""
        policy = self._policy()
        self._follow(policy)
        if policy.tiers is None or ask.limit == NO_LIMIT:
            return Grant(ask, LimitState(), NOT_COUNTED, shared=False)
        if self._shared is None:
            return await self._memory.reserve(ask)
        try:
            return await self._shared.reserve(ask)
        except StoreUnavailable:
            self._on_store_failure()
            if policy.store is None or policy.store.on_failure is OnFailure.CLOSED:
                raise
        return await self._memory.reserve(ask)

    def charge(self, grant: Grant, used: int, held: int) -> None:
        """See Limiter."""
        if grant.slot == NOT_COUNTED:
            return
        limiter = self._shared if grant.shared and self._shared is not None else self._memory
        limiter.charge(grant, used, held)

    async def aclose(self) -> None:
        """Closes all connections."""
        self._leave()
        await asyncio.gather(*self._closing)

    def _follow(self, policy: Policy) -> None:
        """Connects to the policy's store if it has changed."""
        store = policy.store if policy.tiers is not None else None
        wanted = (store.address, store.tls, store.prefix, store.trusted) if store else None
        if wanted != self._store:
            self._leave()
            self._store = wanted
            self._shared = self._connect(store, self._credentials) if store else None

    def _leave(self) -> None:
        if self._shared is not None:
            task = asyncio.get_running_loop().create_task(self._shared.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._shared = None
