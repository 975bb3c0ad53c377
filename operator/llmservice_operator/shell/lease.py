"""Leadership: one Lease, held by the one operator that acts. Whoever loses it must end at once.

Renewals go over a connection of their own, so that they never wait behind other requests; each has a time limit well
below the time after which somebody else may take over.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

LEASE_SECONDS = 15
"""How long after the last renewal another operator may take over."""
RENEW_SECONDS = 10
"""How long the holder tries to renew before it gives up."""
RETRY_SECONDS = 2
"""Seconds between renewals, and between attempts to get the Lease."""
REQUEST_SECONDS = 4.0
"""Limit of one request."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Leadership:
    """The Lease ``name`` in ``namespace``, wanted by ``identity``."""

    def __init__(self, api: client.ApiClient, *, name: str, namespace: str, identity: str) -> None:
        self._lock = _TimedLock(name, namespace, identity, api)
        self.acquired = asyncio.Event()
        """Set when the Lease is held; then it is, until ``hold`` returns."""

    async def hold(self) -> None:
        """Get the Lease, however long that takes, and renew it. Returns when it is lost."""
        config = Config(
            self._lock,
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=self._started,
            onstopped_leading=_nothing,
        )
        await LeaderElection(config).run()

    async def release(self) -> None:
        """Give the Lease back, so that the next operator need not wait. Call it after ``hold`` has ended."""
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
            logger.info("The Lease is given back")
        except ApiException as error:
            logger.warning("The Lease could not be given back: %s", error.reason)

    async def _started(self) -> None:
        self.acquired.set()


class _TimedLock(LeaseLock):
    """A Lease whose requests end in time; a request that didn't counts as refused.

    Writing is done anew: the client's own ``create`` passes an argument that its validation refuses, and a lost race
    is no error with a traceback.
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
            logger.warning("The Lease could not be written: %s", error.reason)
            return False


async def _limited(request: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(request, REQUEST_SECONDS)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ApiException(status=0, reason=f"{type(error).__name__}: {error}") from error


async def _nothing() -> None:
    return None
