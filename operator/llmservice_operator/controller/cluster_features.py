"""What the API server offers, which an upgrade changes while the operator runs: optional kinds, capabilities of
HorizontalPodAutoscalers, and its addresses. It is read when the operator starts, and again and again."""

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence

from llmservice_operator.controller.client import address
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import ApiError, NotFound, RequestRefused
from llmservice_operator.controller.hpa_capabilities import detect
from llmservice_operator.resources.kinds import (
    CATALOGUE,
    HTTP_ROUTE,
    INFERENCE_POOL,
    RESOURCE_CLAIM_TEMPLATE,
    Kind,
    watched,
)
from llmservice_operator.resources.platform import Adapter, Platform

RECHECK_SECONDS = 300.0
"""Maximum interval, plus or minus a quarter."""

logger = logging.getLogger(__name__)


class ClusterFeatures:
    """The kinds that are watched and the platform's settings, completed by what the API server offers."""

    def __init__(
        self,
        cluster: Cluster,
        platform: Platform,
        *,
        namespaces: Sequence[str],
        own_namespace: str,
        environment: Mapping[str, str],
    ) -> None:
        """Empty ``namespaces``: the whole cluster."""
        self._cluster = cluster
        self._possible = watched(
            platform.adapter, gateway_api=platform.gateway_api is not None, whole_cluster=not namespaces
        )
        self._platform = _with_kinds(platform, ())
        self._addresses_are_set = platform.network is not None and bool(platform.network.api_server)
        self._namespace = namespaces[0] if namespaces else None
        self._probe_namespace = self._namespace or own_namespace
        self._environment = environment
        self._watched = tuple(kind for kind in self._possible if not kind.optional)

    def platform(self) -> Platform:
        """The settings, as of the last ``read``."""
        return self._platform

    def watched(self) -> tuple[Kind, ...]:
        """The watched kinds that the API server had at the last ``read``."""
        return self._watched

    def device_claims(self) -> bool:
        """Whether the API server had resource.k8s.io/v1 at the last ``read``."""
        return self._platform.device_claims

    async def read(self) -> bool:
        """Reads all of it. Returns whether something has changed. Raises ApiError, and then nothing has."""
        found = [kind for kind in self._possible if not kind.optional or await self._is_served(kind)]
        platform = await self._with_addresses(_with_kinds(self._platform, found))
        if platform.adapter is not Adapter.NONE:
            support = await detect(self._cluster, self._probe_namespace)
            platform = platform if support is None else dataclasses.replace(platform, **support._asdict())
        if (tuple(found), platform) == (self._watched, self._platform):
            return False
        for kind in set(found) ^ set(self._watched):
            has = "has" if kind in found else "no longer has"
            logger.info("The API server %s the kind %s (%s)", has, kind.kind, kind.api_version)
        if platform.adapter is not Adapter.NONE:
            logger.info(
                "HPA capabilities: tolerance %s; scale to zero %s",
                "configurable" if platform.tolerance_is_settable else "fixed at 0.1 (not every count is reachable)",
                "supported" if platform.scales_to_zero else "not supported (the operator does it)",
            )
        self._watched, self._platform = tuple(found), platform
        return True

    async def run(self, on_change: Callable[[], None], interval: float = RECHECK_SECONDS) -> None:
        """Reads every ``interval`` seconds, and calls ``on_change`` after each change. Runs until cancelled."""
        while True:
            await asyncio.sleep(min(RECHECK_SECONDS, interval) * random.uniform(0.75, 1.25))  # noqa: S311 (spreads load, no secret)
            try:
                if await self.read():
                    on_change()
            except ApiError as error:
                logger.warning("Could not read what the API server offers; it is read again: %s", error)

    async def _is_served(self, kind: Kind) -> bool:
        try:
            await anext(self._cluster.pages(kind, self._namespace, selector=kind.selector, limit=1))
        except NotFound:
            return False
        except RequestRefused as error:
            if kind not in CATALOGUE:
                raise
            logger.warning("The operator may not list %s, so services can't use them: %s", kind.plural, error.message)
            return False
        return True

    async def _with_addresses(self, platform: Platform) -> Platform:
        if platform.network is None or self._addresses_are_set:
            return platform
        try:
            found = await address.addresses(self._cluster, self._environment)
        except RequestRefused as error:
            if platform.network.api_server:
                return platform
            address.log_refused(error)
            found = address.of_service(self._environment)
        return dataclasses.replace(platform, network=dataclasses.replace(platform.network, api_server=found))


def _with_kinds(platform: Platform, served: Collection[Kind]) -> Platform:
    """The settings, with which of the optional kinds are served."""
    return dataclasses.replace(
        platform,
        device_claims=RESOURCE_CLAIM_TEMPLATE in served,
        http_routes=HTTP_ROUTE in served,
        inference_pools=INFERENCE_POOL in served,
        catalogue_kinds=frozenset(kind.kind for kind in CATALOGUE if kind in served),
    )
