"""The operator's process: leader election first, then watches, work queue and resync. If one of them ends, the process
exits. It is crash-only: there is no state to save, so it can exit at any time.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from typing import Any

from kubernetes.aio.config import ConfigException

from llmservice_operator import __version__, metrics
from llmservice_operator.config.settings import Settings
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import ApiError, NotFound, RequestRefused
from llmservice_operator.controller.client.session import connect
from llmservice_operator.controller.clock import utc_now
from llmservice_operator.controller.cluster_capacity import Capacity
from llmservice_operator.controller.cluster_features import ClusterFeatures
from llmservice_operator.controller.events import Events
from llmservice_operator.controller.http_endpoints import Servers
from llmservice_operator.controller.informer.resync import Sweep
from llmservice_operator.controller.informer.store import Cache, ServiceKey, total_bytes
from llmservice_operator.controller.informer.streams import Streams
from llmservice_operator.controller.leader import Leadership
from llmservice_operator.controller.memory_estimates import Estimates, EstimatorProcess
from llmservice_operator.controller.reconciler import Reconciler
from llmservice_operator.controller.scaling.composition import Scaling
from llmservice_operator.controller.workqueue import WorkQueue
from llmservice_operator.planner.model.drift import differs
from llmservice_operator.planner.planner import plan
from llmservice_operator.resources.kinds import CATALOGUE, watched
from llmservice_operator.resources.platform import FitPolicy

STUCK_SECONDS = 300.0
"""Maximum duration of one reconciliation, in seconds. All requests in it have much shorter timeouts."""
STOP_SECONDS = 5.0
"""How long work in progress may take after a stop signal, in seconds."""
WAIT_SECONDS = 5.0
"""Interval of checks for what must exist before the operator can start, in seconds."""

logger = logging.getLogger(__name__)


async def run(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT. Returns the exit status: 0 after a stop signal, 1 after a fatal error."""
    operator = Operator(settings)
    try:
        return await operator.run()
    finally:
        await operator.close()


class Operator:
    """One process. Call ``run`` once, then ``close``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._queue: WorkQueue[ServiceKey] | None = None
        self._sweep: Sweep | None = None
        self._servers = Servers(
            health_port=settings.health_port, metrics_port=settings.metrics_port, problem=self._problem
        )

    async def run(self) -> int:
        """See the module function ``run``."""
        settings = self._settings
        self._listen_for_signals()
        namespaces = ", ".join(settings.namespaces) or "all namespaces"
        logger.info("llmservice-operator %s starts for %s", __version__, namespaces)
        try:
            await self._servers.start()
            connection = await connect(streams=0)
            lease = await connect(streams=0)
        except OSError as error:
            logger.error("Could not open a port (LLMSERVICE_HEALTH_PORT, LLMSERVICE_METRICS_PORT): %s", error)
            return 1
        except ConfigException as error:
            logger.error(
                "Could not configure access to the API server (KUBECONFIG or the pod's service account): %s", error
            )
            return 1
        leadership = Leadership(
            lease.api, name=settings.lease_name, namespace=settings.namespace, identity=settings.identity
        )
        try:
            cluster = Cluster(connection.api)
            if not await self._ready(cluster):
                return 0
            held = asyncio.create_task(self._hold(leadership), name="leadership")
            await self._first(held, leadership.acquired.wait())
            if not leadership.acquired.is_set():
                held.cancel()
                return 0 if self._stop.is_set() else self._log_fatal(held)
            metrics.LEADER.set(1)
            logger.info("Became leader; starting reconciliation.")
            status = await self._act(cluster, held)
            held.cancel()
            await asyncio.wait([held])
            return status
        finally:
            metrics.LEADER.set(0)
            await leadership.release()
            await lease.api.close()
            await connection.api.close()

    async def close(self) -> None:
        """Closes the ports."""
        await self._servers.stop()

    async def _act(self, cluster: Cluster, held: asyncio.Task[None]) -> int:
        settings = self._settings
        cache = Cache(total_bytes(), settings.services_per_namespace)
        features = ClusterFeatures(
            cluster,
            settings.platform,
            namespaces=settings.namespaces,
            own_namespace=settings.namespace,
            environment=os.environ,
        )
        await features.read()
        scaling = Scaling(cluster, cache, settings, features.platform)
        estimates = Estimates(EstimatorProcess(), lambda key: queue.add(key))
        reconciler = Reconciler(
            cluster=cluster,
            cache=cache,
            capacity=Capacity(cluster, device_claims=features.device_claims),
            events=Events(cluster, settings.identity, utc_now),
            estimates=estimates,
            platform=features.platform,
            plan=plan,
            differs=differs,
            outlook=scaling.outlook,
        )
        queue: WorkQueue[ServiceKey] = WorkQueue(
            reconciler.reconcile, workers=settings.workers, on_depth=metrics.QUEUE_DEPTH.set
        )
        sweep = Sweep(
            cluster,
            cache,
            watched=features.watched,
            namespaces=settings.namespaces,
            interval=settings.resync_seconds,
            add_after=queue.add_after,
        )
        self._queue, self._sweep = queue, sweep

        def listed() -> None:
            sweep.soon()
            scaling.listed.set()

        streams = Streams(
            cache,
            queue.add,
            features=features,
            namespaces=settings.namespaces,
            on_listed=listed,
            on_login=self._listen_for_signals,
        )

        def changed() -> None:
            streams.restart_if_kinds_changed()
            sweep.enqueue_all()

        working = asyncio.create_task(queue.run(), name="queue")
        sweeping = asyncio.create_task(sweep.run(), name="sweep")
        deciding = asyncio.create_task(scaling.run(queue.add), name="scaling")
        wanted = settings.platform.fit_policy is not FitPolicy.OFF
        estimating = asyncio.create_task(estimates.run() if wanted else asyncio.Event().wait(), name="estimates")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        streaming = asyncio.create_task(streams.run(changed), name="streams")
        following = asyncio.create_task(features.run(changed, settings.resync_seconds), name="features")
        done, _ = await asyncio.wait(
            {working, sweeping, deciding, estimating, stopping, streaming, following, held},
            return_when=asyncio.FIRST_COMPLETED,
        )
        if held in done:  # another operator may be the leader now: write nothing more
            working.cancel()
        queue.stop()
        sweeping.cancel()
        deciding.cancel()
        following.cancel()
        await asyncio.wait([working], timeout=STOP_SECONDS)
        working.cancel()
        estimating.cancel()
        await asyncio.wait([estimating], timeout=STOP_SECONDS)
        streams.stop()
        await asyncio.wait([streaming], timeout=STOP_SECONDS)
        streaming.cancel()
        if stopping in done:
            logger.info("Stopped")
            return 0
        return self._log_fatal(*done)

    async def _hold(self, leadership: Leadership) -> None:
        if self._settings.leader_election:
            await leadership.hold()
            logger.error("Lost the Lease; the process exits, so that another operator can take over")
        else:
            leadership.acquired.set()
            await asyncio.Event().wait()

    async def _ready(self, cluster: Cluster) -> bool:
        """Waits until every kind can be listed. Returns False if the process received a stop signal meanwhile."""
        reported = ""
        while True:
            missing = await self._missing(cluster)
            if not missing:
                return True
            if missing != reported:
                logger.warning("The operator cannot start yet: %s", missing)
                reported = missing
            await self._first(asyncio.sleep(WAIT_SECONDS))
            if self._stop.is_set():
                return False

    async def _missing(self, cluster: Cluster) -> str:
        namespace = self._settings.namespaces[0] if self._settings.namespaces else None
        platform = self._settings.platform
        for kind in watched(
            platform.adapter, gateway_api=platform.gateway_api is not None, whole_cluster=namespace is None
        ):
            try:
                await anext(cluster.pages(kind, namespace, selector=kind.selector, limit=1))
            except NotFound:
                if kind.optional:
                    continue
                return f"the API server has no kind {kind.kind} ({kind.api_version}): install the CRD"
            except RequestRefused as error:
                if kind in CATALOGUE:
                    continue
                return f"the operator may not list {kind.plural}: {error.message}"
            except ApiError as error:
                return str(error)
        return ""

    async def _first(self, *others: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> None:
        """Waits for one of ``others`` or the stop signal, then cancels the coroutines."""
        begun = [asyncio.create_task(each) for each in (self._stop.wait(), *others) if asyncio.iscoroutine(each)]
        await asyncio.wait(
            {*begun, *(each for each in others if isinstance(each, asyncio.Task))}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in begun:
            task.cancel()

    def _log_fatal(self, *ended: asyncio.Task[Any]) -> int:
        for task in ended:
            error = None if task.cancelled() else task.exception()
            logger.error("Fatal: task %s exited: %s", task.get_name(), repr(error) if error else "no error")
        return 1

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _problem(self) -> str:
        if self._queue is not None and self._queue.longest_running() > STUCK_SECONDS:
            return f"one reconciliation takes longer than {STUCK_SECONDS:.0f} s"
        if self._sweep is not None and self._sweep.age() > 3 * self._settings.resync_seconds + STUCK_SECONDS:
            return f"no resync has finished for {self._sweep.age():.0f} s"
        return ""
