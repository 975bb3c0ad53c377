"""The scaling loop: in every interval it reads Prometheus once for all services, decides for each, and publishes the
metrics for the autoscalers.

Invariants: one read of Prometheus and of the metrics API's registration per interval, independent of the number of
services; a service without metrics keeps its count; a service is reconciled again only if its scaling status changes;
an error in the decision for one service does not affect the others.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from llmservice_operator import metrics
from llmservice_operator.api.scaling import Scaling
from llmservice_operator.autoscaling import hpa_encoding
from llmservice_operator.autoscaling.algorithm import (
    AutoscalingAlgorithm,
    ReplicaBounds,
    ReplicaCounts,
    ScalingDecision,
    ScalingInputs,
)
from llmservice_operator.autoscaling.algorithms import ALGORITHMS, Algorithm
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.metrics_unavailable import METRICS_INVALID, NO_SERIES, MetricsUnavailable
from llmservice_operator.autoscaling.prometheus_answers import clip
from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.autoscaling.signals import USUAL_LABELS, Owned, Reading, SeriesLabels, Signals, UnmatchedSeries
from llmservice_operator.autoscaling.unmatched_series import no_series
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.controller.scaling.metrics_store import Entry, ScalingMetricsStore
from llmservice_operator.controller.scaling.owned_pods import OwnPods
from llmservice_operator.controller.scaling.scaling_request import ScalingRequest, replicas_of, request_of
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources.autoscaler import SCALE_DOWN_STABILIZATION_SECONDS
from llmservice_operator.resources.platform import Adapter, Platform

TOLERANCE_OF_OLD_CLUSTERS = 0.1

NEW_SECONDS = 2.0
"""Minimum delay of the first decision for a new service, so that many new ones share it, in seconds."""

logger = logging.getLogger(__name__)


class Prometheus(Protocol):
    """The source of latencies; never raises."""

    async def read(self, targeted: Collection[Latency] | None, owned: Owned) -> Reading:
        """One read, for all services; ``targeted`` are the latencies that decide, None for no latencies at all;
        ``owned`` are the services, and the pods whose series count."""
        ...


@dataclasses.dataclass
class _Scaled:
    """One service that is scaled."""

    wish: ScalingRequest
    state: Any
    """The state of its algorithm."""
    outlook: ScalingOutcome
    signals: Signals | None = None
    published: hpa_encoding.Published | None = None
    """The value published for its autoscaler; None if there is none."""
    asleep: bool = False
    """Whether it was observed at zero after its algorithm decided that."""
    idle: bool = False
    """Whether no replica was ready at the last decision."""
    incomplete_since: datetime.datetime | None = None
    """Since when ready replicas have no series; None if all have."""
    serving_since: datetime.datetime | None = None
    """When the first replica became ready; None if that was before the operator started."""
    why: str = ""
    error: str = ""
    """The error of the last decision; empty if it succeeded."""


class Autoscaler:
    """Decides for every service that has ``spec.scaling``. ``add`` enqueues a service for reconciliation; ``ensure``
    maintains the registration of the metrics API and returns its problem. ``throughput`` gets each reading; if it is
    given, there is one in each interval even if no service is scaled."""

    def __init__(
        self,
        *,
        cache: Cache,
        prometheus: Prometheus,
        ensure: Callable[[], Awaitable[MetricsUnavailable | None]] | None,
        platform: Callable[[], Platform],
        board: ScalingMetricsStore,
        interval: float,
        window: float,
        add: Callable[[ServiceKey], None],
        now: Callable[[], datetime.datetime],
        throughput: Callable[[Reading], None] | None = None,
        algorithms: Mapping[Algorithm, AutoscalingAlgorithm[Any]] = ALGORITHMS,
        series_labels: SeriesLabels = USUAL_LABELS,
    ) -> None:
        self._cache = cache
        self._pods = OwnPods(cache)
        self._prometheus = prometheus
        self._ensure = ensure
        self._platform = platform
        self._interval = interval
        self._window = window
        self._board = board
        board.look = self._look
        self._add = add
        self._now = now
        self._throughput = throughput
        self._algorithms = algorithms
        self._series_labels = series_labels
        self._services: dict[ServiceKey, _Scaled] = {}
        self._gap: MetricsUnavailable | None = None
        self._said = ""
        self._unmatched: frozenset[UnmatchedSeries] = frozenset()
        self._new = asyncio.Event()

    async def run(self) -> None:
        """Decide at the beginning of each interval, until cancelled. An error does not end the loop: the published
        metrics expire, and the autoscalers keep their counts."""
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            try:
                await self.once()
            except Exception:
                logger.exception("The scaling decision for all services failed; retrying in %.0f s", self._interval)
            took = clock() - started
            metrics.SCALING_SECONDS.observe(took)
            await self._pause(self._interval - took)

    async def _pause(self, seconds: float) -> None:
        """Wait until the next interval, or until a new service needs its first decision, at most every NEW_SECONDS."""
        self._new.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._new.wait(), max(0.0, seconds))
            await asyncio.sleep(min(NEW_SECONDS, self._interval))

    async def once(self) -> None:
        """Read metrics, decide for every service, and enqueue those whose scaling status changed."""
        wishes = dict(self._wishes())
        if not wishes:
            self._forget(set(self._services))
            self._gap = await self._ensure() if self._ensure else None
            if self._throughput is not None:
                self._throughput(await self._prometheus.read(None, self._owned()))
            return
        targeted = {target.latency for wish in wishes.values() for target in wish.targets}
        ensured = self._ensure() if self._ensure else _nothing()
        reading, gap = await asyncio.gather(self._prometheus.read(targeted, self._owned()), ensured)
        self._gap = gap
        if self._throughput is not None:
            self._throughput(reading)
        self._log(reading.gap or gap)
        self._log_unmatched(reading.unmatched)
        self._forget(set(self._services) - set(wishes))
        now = self._now()
        for key, wish in wishes.items():
            before = self._services.get(key)
            said = before.outlook if before is not None else None
            try:
                after = self._decide(key, wish, before, reading, now)
            except Exception as error:
                after = self._fail(key, wish, now, error)
            if after is not None and after.outlook != said:
                self._add(key)

    def _owned(self) -> Owned:
        return self._pods.known(asyncio.get_running_loop().time())

    def outlook(self, key: ServiceKey) -> ScalingOutcome | None:
        """The scaling status of a service; None before its first decision."""
        service = self._cache.service(key)
        if service is not None and key not in self._services:
            self._begin(key, service)
        found = self._services.get(key)
        if found is None or service is None or service["metadata"]["uid"] != found.wish.uid:
            return None
        self._look(key)
        return found.outlook

    def _wishes(self) -> Iterator[tuple[ServiceKey, ScalingRequest]]:
        for key in self._cache.services():
            service = self._cache.service(key)
            if service is None or service["metadata"].get("deletionTimestamp"):
                continue
            meta = service["metadata"]
            before = self._services.get(key)
            wish = before.wish if before is not None else None
            if wish is None or (wish.uid, wish.generation) != (meta["uid"], meta.get("generation", 0)):
                try:
                    wish = request_of(service)
                except Exception:
                    logger.exception("%s/%s: spec.scaling can't be read", *key)
                    continue
            if wish.scaling is not None:
                yield key, wish

    def _begin(self, key: ServiceKey, service: Object) -> None:
        """Decide at once for a new service without replicas, which has nothing to measure. Another one is measured
        soon."""
        wish = request_of(service)
        if wish.scaling is None:
            return
        try:
            if self._replicas(key, service, wish).ready:
                self._new.set()
            else:
                self._decide(key, wish, None, Reading({}), self._now())
        except Exception as error:
            self._fail(key, wish, self._now(), error)

    def _decide(
        self, key: ServiceKey, wish: ScalingRequest, before: _Scaled | None, reading: Reading, now: datetime.datetime
    ) -> _Scaled | None:
        service = self._cache.service(key)
        if service is None or wish.scaling is None:
            return None
        fleet = self._replicas(key, service, wish)
        if before is None or before.wish.uid != wish.uid:
            before = _Scaled(
                wish, self._algorithm(wish).initial_state(fleet.desired, now), ScalingOutcome(fleet.desired, "")
            )
        elif before.wish.algorithm is not wish.algorithm:
            before.state = self._algorithm(wish).initial_state(before.outlook.count, now)
        if fleet.ready and before.idle:
            before.serving_since = now
        before.idle = fleet.ready == 0
        gap = self._gap_of(key, wish, fleet, reading)
        signals = reading.signals.get(key) if gap is None else None
        if gap is not None and gap.reason == NO_SERIES and self._is_new(before, now):
            gap = None
        self._services[key] = before
        before.wish, before.signals = wish, signals
        self._step(key, before, fleet, now, gap)
        before.error = ""
        return before

    def _replicas(self, key: ServiceKey, service: Object, wish: ScalingRequest) -> ReplicaCounts:
        keda = self._platform().adapter is Adapter.KEDA
        return replicas_of(self._cache, key, service, wish.scaling, zero_counts=not keda)

    def _fail(self, key: ServiceKey, wish: ScalingRequest, now: datetime.datetime, error: Exception) -> _Scaled:
        """Metrics are unavailable for a service whose decision failed. The algorithm's state may be the cause, so that
        it is reset to the current count."""
        text = f"{type(error).__name__}: {error}"
        before = self._services.get(key)
        known = before is not None and before.wish.uid == wish.uid
        count = before.outlook.count if before is not None and known else 0
        if before is None or not known or before.error != text:
            logger.error("%s/%s: could not compute a replica count", *key, exc_info=error)
        gap = MetricsUnavailable(
            METRICS_INVALID,
            f"The operator can't compute a replica count from the metrics of {key[1]}: {clip(text)}. See /metrics of "
            "its pods and the operator's log.",
        )
        failed = _Scaled(
            wish, self._algorithm(wish).initial_state(count, now), ScalingOutcome(count, "", gap=gap), error=text
        )
        self._services[key] = failed
        self._board.post(key, Entry(now, None, gap, None))
        return failed

    def _step(
        self,
        key: ServiceKey,
        scaled: _Scaled,
        fleet: ReplicaCounts,
        now: datetime.datetime,
        gap: MetricsUnavailable | None,
    ) -> None:
        scaling = scaled.wish.scaling
        if scaling is None:
            return
        bounds = ReplicaBounds(scaling.min_replicas, scaling.max_replicas)
        scaled.asleep = fleet.desired == 0 and scaled.outlook.count == 0
        inputs = ScalingInputs(
            scaled.signals,
            scaled.wish.targets,
            bounds,
            fleet,
            now,
            window=self._window,
            idle=self._idle(scaling),
        )
        scaled.state, decision = self._algorithm(scaled.wish).step(scaled.state, inputs)
        metrics.SCALING_DECISIONS.labels(_direction(scaled.outlook.count, decision.count, gap)).inc()
        if decision.changed:
            scaled.why = decision.why
            logger.info("%s/%s: %s", *key, decision.why)
        scaled.outlook = ScalingOutcome(
            count=decision.count,
            why=scaled.why,
            limited=decision.limited,
            unreachable=decision.unreachable,
            measured=self._measured(scaled, fleet, now),
            gap=gap,
            offered_since=None if gap is not None else scaled.outlook.offered_since or now,
        )
        scaled.published = None if gap is not None else self._published(scaled.published, decision, fleet, bounds)
        self._board.post(key, Entry(now, scaled.published.milli if scaled.published else None, gap, scaled.signals))

    def _algorithm(self, wish: ScalingRequest) -> AutoscalingAlgorithm[Any]:
        return self._algorithms[wish.algorithm]

    def _published(
        self,
        before: hpa_encoding.Published | None,
        decision: ScalingDecision,
        fleet: ReplicaCounts,
        bounds: ReplicaBounds,
    ) -> hpa_encoding.Published:
        return hpa_encoding.published(
            decision.count,
            1.0 if decision.load is None else decision.load,
            current=fleet.existing,
            tolerance=0.0 if self._platform().tolerance_is_settable else TOLERANCE_OF_OLD_CLUSTERS,
            minimum=bounds.minimum,
            maximum=bounds.maximum,
            before=before,
        )

    def _measured(self, scaled: _Scaled, fleet: ReplicaCounts, now: datetime.datetime) -> tuple[int, int] | None:
        """See ``ScalingOutcome.measured``."""
        if scaled.signals is None or scaled.signals.pods >= fleet.ready:
            scaled.incomplete_since = None
            return None
        since = scaled.incomplete_since = scaled.incomplete_since or now
        return (scaled.signals.pods, fleet.ready) if now - since >= self._patience else None

    @property
    def _patience(self) -> datetime.timedelta:
        """After which Prometheus has measured a replica that became ready."""
        return datetime.timedelta(seconds=self._window + 2 * self._interval)

    def _is_new(self, scaled: _Scaled, now: datetime.datetime) -> bool:
        """Whether its replicas became ready so recently that Prometheus can't have measured them."""
        return scaled.serving_since is not None and now - scaled.serving_since < self._patience

    def _idle(self, scaling: Scaling) -> float:
        """Seconds without requests before scaling to zero. If an autoscaler does it, its stabilization window comes
        after them."""
        if self._platform().scales_to_zero or self._platform().adapter is Adapter.KEDA:
            return self._window
        stated = scaling.behavior.scale_down.stabilization_window_seconds
        return max(self._window, SCALE_DOWN_STABILIZATION_SECONDS if stated is None else stated)

    def _look(self, key: ServiceKey) -> None:
        """Decide at once for a service that was scaled up from zero, because the autoscaler may ask before the next
        interval, and for one that has just reached zero, because it may be scaled up before the next interval."""
        scaled, service = self._services.get(key), self._cache.service(key)
        if scaled is None or service is None:
            return
        replicas = service["spec"].get("replicas")
        if (scaled.asleep and replicas) or (not scaled.asleep and scaled.outlook.count == 0 and replicas == 0):
            try:
                self._step(key, scaled, self._replicas(key, service, scaled.wish), self._now(), scaled.outlook.gap)
            except Exception as error:
                self._fail(key, scaled.wish, self._now(), error)

    def _forget(self, keys: set[ServiceKey]) -> None:
        for key in keys:
            del self._services[key]
            self._board.remove(key)

    def _gap_of(
        self, key: ServiceKey, wish: ScalingRequest, fleet: ReplicaCounts, reading: Reading
    ) -> MetricsUnavailable | None:
        """Why metrics of this service are unavailable. A service at zero or still loading has no metrics to read."""
        if self._gap is not None:
            return self._gap
        if reading.gap is not None:
            return reading.gap
        if fleet.ready == 0:
            return None
        if key in reading.signals:
            return _absent(wish, reading.signals[key], reading.absent.get(key, {}))
        if key in reading.gaps:
            return reading.gaps[key]
        return no_series(key, reading.unmatched, reading.any_engine, self._series_labels, reading.scraped.get(key))

    def _log_unmatched(self, unmatched: Collection[UnmatchedSeries]) -> None:
        """Log once which series of engines count for no service."""
        for each in set(unmatched) - self._unmatched:
            logger.warning(
                "Prometheus has series of engines that count for no service (%s): %s", each.kind, each.labels
            )
        self._unmatched = frozenset(unmatched)

    def _log(self, gap: MetricsUnavailable | None) -> None:
        """Log once why metrics of all services are unavailable, and once that they are available again."""
        text = f"{gap.reason}: {gap.message}" if gap is not None else ""
        if text != self._said:
            if text:
                logger.warning("Autoscaling is paused for all services: %s", text)
            else:
                logger.info("Autoscaling resumed")
            self._said = text


def _absent(
    wish: ScalingRequest, signals: Signals, absent: Mapping[Latency, MetricsUnavailable]
) -> MetricsUnavailable | None:
    """What is missing of the latencies that decide: those with a target, and the time to first token, which shows
    whether requests make progress."""
    first = Latency.TIME_TO_FIRST_TOKEN
    if first in absent and not signals.latencies.get(first):
        return absent[first]
    for target in wish.targets:
        if target.latency in absent and target.percentile not in signals.latencies.get(target.latency, {}):
            return absent[target.latency]
    return None


def _direction(before: int, after: int, gap: MetricsUnavailable | None) -> str:
    """What a decision did, for the metric."""
    if gap is not None:
        return "unavailable"
    return "up" if after > before else "down" if after < before else "hold"


async def _nothing() -> None:
    return None
