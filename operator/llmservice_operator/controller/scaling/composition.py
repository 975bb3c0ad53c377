"""Composes the parts of scaling for the platform's adapter: Prometheus, the decisions, the store that publishes them,
and the metrics API if the operator owns external.metrics.k8s.io. Costs are published from here, too, because they use
the same readings, and so is what alerts compare with them: conditions, replicas and targets.
"""

import asyncio
import contextlib
import datetime
from collections.abc import Callable

from llmservice_operator import metrics
from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.autoscaling.signals import SeriesLabels
from llmservice_operator.config.settings import Settings
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.clock import utc_now
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.controller.metrics_api.api import MetricsAPI
from llmservice_operator.controller.prometheus.client import Prometheus
from llmservice_operator.controller.scaling.autoscaler import Autoscaler
from llmservice_operator.controller.scaling.cost_metrics import Costs
from llmservice_operator.controller.scaling.metrics_store import ScalingMetricsStore
from llmservice_operator.controller.scaling.service_series import ServiceSeries
from llmservice_operator.resources.platform import Adapter, Platform

OLDEST_INTERVALS = 4
"""Intervals after which a decision is too old to be published: the loop has stopped."""
LISTING_SECONDS = 15.0
"""Maximum time that the first decision waits for the list of services: there may be none."""


class Scaling:
    """Autoscaling of one operator. Call ``run`` once."""

    def __init__(self, cluster: Cluster, cache: Cache, settings: Settings, platform: Callable[[], Platform]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._settings = settings
        self._platform = platform
        fresh = datetime.timedelta(seconds=self._fresh_seconds)
        self._costs = Costs(cache, fresh=fresh, now=utc_now)
        self._autoscaler: Autoscaler | None = None
        self.listed = asyncio.Event()
        """To be set when the services have been listed."""

    def outlook(self, key: ServiceKey) -> ScalingOutcome | None:
        """The scaling of one service; None before the first decision."""
        return self._autoscaler.outlook(key) if self._autoscaler is not None else None

    @property
    def _fresh_seconds(self) -> float:
        return OLDEST_INTERVALS * self._settings.scaling.interval_seconds + 15

    async def run(self, add: Callable[[ServiceKey], None]) -> None:
        """Run until cancelled; ``add`` enqueues a service for reconciliation."""
        costs = metrics.Exported(self._costs.exported, "docs/cost.md")
        services = metrics.Exported(ServiceSeries(self._cache).exported, "docs/metrics.md")
        with contextlib.ExitStack() as stack:
            for each in (costs, services):
                metrics.REGISTRY.register(each)
                stack.callback(metrics.REGISTRY.unregister, each)
            await self._run(add)

    async def _run(self, add: Callable[[ServiceKey], None]) -> None:
        settings = self._settings.scaling
        if self._platform().adapter is Adapter.NONE:
            await asyncio.Event().wait()
        wanted = self._settings.prometheus
        window = wanted.window_seconds
        board = ScalingMetricsStore(fresh_seconds=self._fresh_seconds, window_seconds=window, now=utc_now)
        exported = metrics.Exported(board.exported)
        prometheus = Prometheus(self._settings.prometheus)
        async with contextlib.AsyncExitStack() as stack:
            metrics.REGISTRY.register(exported)
            stack.callback(metrics.REGISTRY.unregister, exported)
            ensure = None
            if self._platform().adapter is Adapter.OWN:
                api = MetricsAPI(self._cluster, settings, self._settings.namespace, board)
                await api.start()
                stack.push_async_callback(api.stop)
                ensure = api.ensure
            self._autoscaler = Autoscaler(
                cache=self._cache,
                prometheus=prometheus,
                ensure=ensure,
                platform=self._platform,
                board=board,
                interval=settings.interval_seconds,
                window=window,
                add=add,
                now=utc_now,
                series_labels=SeriesLabels(wanted.namespace_label, wanted.pod_label, wanted.matchers),
                throughput=self._costs.take if self._platform().prices.gpu_hours and prometheus.configured else None,
            )
            if ensure is not None:
                await ensure()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.listed.wait(), LISTING_SECONDS)
            await self._autoscaler.run()
