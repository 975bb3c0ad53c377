"""The resync: periodically compares the cache with the cluster, by metadata only, and reconciles services that differ.

A watch that was listed again does not report objects that were deleted meanwhile, and a lost event leaves an old
version in the cache. The resync finds both. At a longer interval it reconciles every service.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence

from llmservice_operator import metrics
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import ApiError, Gone
from llmservice_operator.controller.informer.store import Cache, ServiceKey, object_key, version
from llmservice_operator.resources.kinds import Kind

LOOK_EVERY = 6
"""Resyncs after which every service is reconciled, because that costs more than the comparison."""
SOON_SECONDS = 5.0
"""Delay of the resync after a new listing, so that several listings cause one resync."""

logger = logging.getLogger(__name__)


class Sweep:
    """Compares every ``interval`` seconds, plus or minus a quarter. Empty ``namespaces``: the whole cluster."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        *,
        watched: Callable[[], Sequence[Kind]],
        namespaces: Sequence[str],
        interval: float,
        add_after: Callable[[ServiceKey, float], None],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._watched = watched
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._interval = interval
        self._add_after = add_after
        self._last: float | None = None
        self._done = 0
        self._soon = asyncio.Event()

    def soon(self) -> None:
        """Requests a resync within SOON_SECONDS: a kind was listed again, so deletions may have been missed."""
        self._soon.set()

    def age(self) -> float:
        """Seconds since the last complete resync; 0 before ``run``."""
        return 0.0 if self._last is None else asyncio.get_running_loop().time() - self._last

    async def run(self) -> None:
        """Runs until cancelled. A failed resync is retried at the next interval."""
        clock = asyncio.get_running_loop().time
        self._last = clock()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), self._interval * random.uniform(0.75, 1.25))  # noqa: S311
                await asyncio.sleep(min(SOON_SECONDS, self._interval))
            self._soon.clear()
            try:
                await self.once()
                self._last = clock()
            except ApiError as error:
                logger.warning("The resync failed and will be retried: %s", error)

    async def once(self) -> None:
        """Compares every kind and enqueues services that differ. After LOOK_EVERY resyncs it enqueues every service,
        spread over a tenth of the interval."""
        for kind in self._watched():
            for namespace in self._namespaces:
                for key in await self._compare(kind, namespace):
                    self._add_after(key, 0.0)
        self._done += 1
        if self._done % LOOK_EVERY == 0:
            self.enqueue_all()

    def enqueue_all(self) -> None:
        """Enqueues every service, spread over a tenth of the interval."""
        for key in self._cache.services():
            self._add_after(key, random.uniform(0.0, self._interval / 10))  # noqa: S311 (spreads load, no secret)

    async def _compare(self, kind: Kind, namespace: str | None) -> set[ServiceKey]:
        """Updates the cache from the cluster. Returns the affected services."""
        live: dict[tuple[str, str], tuple[str, int]] = {}
        listed = 0
        try:
            async for page, at in self._cluster.pages(kind, namespace, selector=kind.selector, metadata_only=True):
                listed = int(at)
                for item in page:
                    meta = item["metadata"]
                    live[meta.get("namespace", ""), meta["name"]] = (meta["uid"], version(item))
        except Gone:
            return set()
        concerned: set[ServiceKey] = set()
        for cached in self._cache.of_kind(kind.kind):
            name = object_key(cached)[1:]
            if namespace is not None and name[0] != namespace:
                continue
            found = live.pop(name, None)
            if found is None and version(cached) < listed:
                concerned |= self._cache.remove(cached)
                self._found(kind, name, "was deleted")
            elif found is not None and found[1] > version(cached):
                concerned |= await self._fetch(kind, name)
        for name in live:
            concerned |= await self._fetch(kind, name)
        return concerned

    async def _fetch(self, kind: Kind, name: tuple[str, str]) -> set[ServiceKey]:
        obj = await self._cluster.get(kind, *name)
        concerned = self._cache.put(obj) if obj is not None else set()
        if concerned:
            self._found(kind, name, "was changed")
        return concerned

    def _found(self, kind: Kind, name: tuple[str, str], what: str) -> None:
        metrics.SWEPT.labels(kind.kind).inc()
        logger.info("The resync found that %s %s/%s %s; the watch has not reported it", kind.kind, *name, what)
