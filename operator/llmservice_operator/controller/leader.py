"""Leader election: one Lease, held by the leader. An operator that loses it must exit at once.

Renewals use a separate connection, so that they never wait behind other requests. Each request has a timeout well below
the time after which another operator may take over. Durations are measured with a monotonic clock, so that changing the
system time neither extends nor ends a leadership. The times in the Lease are for people.
"""

import asyncio
import datetime
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

LEASE_SECONDS = 15
"""How long after the last renewal another operator may take over, in seconds."""
RENEW_SECONDS = 10
"""How long the leader tries to renew before it gives up, in seconds."""
RETRY_SECONDS = 2
"""Interval of renewals, and of attempts to acquire the Lease, in seconds."""
REQUEST_SECONDS = 4.0
"""Timeout of one request, in seconds."""
NOT_FOUND = 404
"""HTTP status: the Lease does not exist yet."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Leadership:
    """The Lease ``name`` in ``namespace``, to be acquired by ``identity``."""

    def __init__(self, api: client.ApiClient, *, name: str, namespace: str, identity: str) -> None:
        self._lock = _TimedLock(name, namespace, identity, api)
        self.acquired = asyncio.Event()
        """Set while the Lease is held: from its acquisition until ``hold`` returns."""
        self._seen: dict[str, object] = {}
        self._seen_at = 0.0
        """The last seen Lease of another operator, and when it last changed."""
        self._taken = False
        """Whether another operator held it at the last attempt."""

    async def hold(self) -> None:
        """Acquires the Lease, however long that takes, and renews it. Returns when it is lost: at the latest
        RENEW_SECONDS after the last renewal began, and at once if another operator holds it."""
        clock = asyncio.get_running_loop().time
        renewed = clock()
        while not await self._attempt(clock()):
            await asyncio.sleep(RETRY_SECONDS)
            renewed = clock()
        logger.info("%s acquired the Lease %s", self._lock.identity, self._lock.name)
        self.acquired.set()
        try:
            while True:
                async with asyncio.timeout_at(renewed + RENEW_SECONDS):
                    await asyncio.sleep(RETRY_SECONDS)
                    begun = clock()
                    if await self._attempt(begun):
                        renewed = begun
                    elif self._taken:
                        return
        except TimeoutError:
            return

    async def _attempt(self, now: float) -> bool:
        """Creates, takes over or renews the Lease; ``now`` is the start of the attempt. Returns whether it is held."""
        found, before = await self._lock.get(self._lock.name, self._lock.namespace)
        now_utc = datetime.datetime.now(datetime.UTC)
        # The client omits microseconds of 0, and the API server requires six digits.
        time = now_utc.replace(microsecond=now_utc.microsecond or 1).strftime("%Y-%m-%d %H:%M:%S.%f")
        mine = LeaderElectionRecord(self._lock.identity, str(LEASE_SECONDS), time, time)
        self._taken = False
        if not found:
            if getattr(before, "status", None) == NOT_FOUND:
                return await self._lock.create(self._lock.name, self._lock.namespace, mine)
            logger.warning("Could not read the Lease: %s", getattr(before, "reason", before))
            return False
        holder = before.holder_identity if before is not None else None
        if holder == self._lock.identity and before.acquire_time:
            mine.acquire_time = before.acquire_time
        elif holder:
            self._taken = True
            state = vars(before).copy()
            if state != self._seen:
                self._seen, self._seen_at = state, now
            if now < self._seen_at + LEASE_SECONDS:
                return False
        return await self._lock.update(self._lock.name, self._lock.namespace, mine)

    async def release(self) -> None:
        """Releases the Lease, so that the next operator need not wait. Call it after ``hold`` has returned."""
        if not self.acquired.is_set():
            return
        self.acquired.clear()
        found, _ = await self._lock.get(self._lock.name, self._lock.namespace)
        lease = self._lock.lease_reference
        if not found or lease is None or lease.spec is None or lease.spec.holder_identity != self._lock.identity:
            return
        lease.spec.holder_identity = None
        lease.spec.lease_duration_seconds = 1
        try:
            await _limited(
                self._lock.api_instance.replace_namespaced_lease(self._lock.name, self._lock.namespace, lease)
            )
            logger.info("Released the Lease")
        except ApiException as error:
            logger.warning(
                "Could not release the Lease: %s. The next leader waits up to %d s for it to expire",
                error.reason,
                LEASE_SECONDS,
            )


class _TimedLock(LeaseLock):
    """A Lease whose requests have a timeout. A timeout counts as a failed request.

    The writing methods are replaced: the client's ``create`` passes an argument that fails its own validation, and a
    lost race should not log a traceback.
    """

    async def get(self, name: str, namespace: str) -> Any:
        try:
            return await _limited(super().get(name, namespace))
        except ApiException as error:
            return False, error

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        lease = client.V1Lease(metadata=client.V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._done(self.api_instance.create_namespaced_lease(namespace, lease))

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        lease = self.lease_reference
        if lease is None:
            return False
        lease.spec = self.update_lease(updated_record, lease.spec)
        return await self._done(self.api_instance.replace_namespaced_lease(name, namespace, lease))

    async def _done(self, request: Awaitable[object]) -> bool:
        try:
            await _limited(request)
            return True
        except ApiException as error:
            logger.warning("Could not write the Lease: %s", error.reason)
            return False


async def _limited(request: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(request, REQUEST_SECONDS)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ApiException(status=0, reason=f"{type(error).__name__}: {error}") from error
