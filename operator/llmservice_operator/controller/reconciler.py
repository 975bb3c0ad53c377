"""One look at one service: observe, plan, carry out, tell. Level-triggered: nothing is remembered between two looks
that the cluster does not hold, so that a crash at any point is made good by the next look.
"""

import dataclasses
import datetime
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from llmservice_contract.finding import Finding
from llmservice_operator import metrics
from llmservice_operator.autoscaling.scaling_outcome import ScalingOutcome
from llmservice_operator.controller import planning_budget
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import NotFound, RequestRefused
from llmservice_operator.controller.client.trim import stub, trim
from llmservice_operator.controller.clock import utc_now
from llmservice_operator.controller.cluster_capacity import Capacity
from llmservice_operator.controller.events import Events
from llmservice_operator.controller.executor import RECHECK_SECONDS, Executor, UnownedObjectError
from llmservice_operator.controller.informer.event_reader import NamespaceEvents
from llmservice_operator.controller.informer.store import Cache, ObjectKey, ServiceKey, object_key
from llmservice_operator.controller.memory_estimates import Estimates
from llmservice_operator.controller.plan_inputs import Inputs
from llmservice_operator.controller.planning_budget import Budget, PlanFailed
from llmservice_operator.planner.model.observed import Input, Object, Observed
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.status import plan_failure
from llmservice_operator.planner.status.apply_error import status_with_apply_error
from llmservice_operator.resources.kinds import POD, STATEFULSET, kind_of
from llmservice_operator.resources.platform import Platform

STRANGER_SECONDS = 30.0
"""How often is looked whether a name that is taken has become free: such objects are not streamed."""
OTHER_REASON = "Other"
"""Label of services whose reason this operator doesn't know."""
_STATUSES = ("True", "False", "Unknown")
MAX_STRANGERS = 8
"""Taken names that one look takes in, more than a service has children."""

logger = logging.getLogger(__name__)


class Reconciler:
    """Brings services to what they should be. ``plan`` and ``differs`` are the core's, ``outlook`` the autoscaler's."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        cache: Cache,
        capacity: Capacity,
        events: Events,
        estimates: Estimates,
        platform: Platform,
        plan: Callable[[Observed], Plan],
        differs: Callable[[Object, Object], bool],
        outlook: Callable[[ServiceKey], ScalingOutcome | None] = lambda key: None,
        now: Callable[[], datetime.datetime] = utc_now,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._capacity = capacity
        self._events = events
        self._estimates = estimates
        self._platform = platform
        self._budget = Budget(plan, cpu=cpu)
        self._outlook = outlook
        self._now = now
        self._executor = Executor(cluster, cache, differs)
        self._inputs = Inputs(capacity, NamespaceEvents(cluster), estimates)
        self._strangers: dict[ServiceKey, dict[ObjectKey, Object]] = {}
        """Which objects have taken names, and whose they are. No policy and no bound of the cache holds for what they
        have in them."""
        self._verdicts: dict[ServiceKey, tuple[str, str]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        """Services by their verdict, as the metric has it."""

    async def reconcile(self, key: ServiceKey) -> float | None:
        """One look. Returns the seconds after which time alone calls for another one, or None.

        Raises ApiError where the cluster could not be brought to the plan; to be repeated later.
        """
        started = time.perf_counter()
        result = "ok"
        try:
            return await self._reconcile(key)
        except PlanFailed as failure:
            result = PlanFailed.__name__
            await self._tell_unplanned(key, plan_failure.failed(failure.error))
            raise
        except BaseException as error:
            result = type(error).__name__
            raise
        finally:
            metrics.RECONCILES.labels(result).inc()
            metrics.RECONCILE_SECONDS.observe(time.perf_counter() - started)

    async def _reconcile(self, key: ServiceKey) -> float | None:
        if self._cache.service(key) is None:
            self._strangers.pop(key, None)
            self._estimates.forget(key)
            self._budget.forget(key)
            self._count(key, None)
            self._executor.forget(key)
            await self._executor.leftovers(self._cache.related(key))
            return None
        if not await self._served(key):
            return None
        service = self._cache.service(key)
        if service is not None and (wait := await self._executor.make_anew(service)) is not None:
            return wait
        pause = await self._pause(key)
        if pause is not None:
            return pause
        await self._look_at_strangers(key)
        failure: RequestRefused | NotFound | None = None
        wrote = False
        for _ in range(MAX_STRANGERS):
            service = self._cache.service(key)
            if service is None or self._cache.is_reduced(key):
                return 0.0
            plan = await self._planned(key, service)
            try:
                wrote |= await self._executor.replicas(service, plan.replicas)
                wrote |= await self._executor.children(service, plan)
                if self._executor.releases(service):
                    return RECHECK_SECONDS
                wrote |= await self._executor.scale(service, plan.scale)
                break
            except UnownedObjectError as found:
                self._strangers.setdefault(key, {})[object_key(found.stranger)] = stub(found.stranger)
            except (RequestRefused, NotFound) as error:
                failure = error
                break
        try:
            wrote |= await self._executor.admissions(plan.admissions)
            wrote |= await self._executor.annotations(plan.annotations)
        except RequestRefused as error:
            failure = failure or error
        service = self._cache.service(key)
        if self._cache.is_reduced(key):
            return 0.0
        if wrote and failure is None and service is not None and not plan.tells_of_itself:
            plan = await self._planned(key, service)  # the status is on what is there now
        wrote |= await self._tell(key, plan, failure)
        if failure is not None:
            raise failure
        if wrote:  # an answer may have brought along what somebody else wrote and no event will tell again
            return 0.0
        if key in self._strangers:
            return min(STRANGER_SECONDS, plan.requeue_after or STRANGER_SECONDS)
        return plan.requeue_after

    async def _planned(self, key: ServiceKey, service: Object) -> Plan:
        """The plan, made again with what it requires, as far as that can be read. Each input is read once: what comes
        later has the service reconciled again."""
        found: dict[str, Any] = {}
        asked: set[Input] = set()
        whole = await self._whole_statefulsets(key)
        while True:
            observed = self._observe(key, service)
            children = [whole.get(object_key(child), child) for child in observed.children]
            plan = self._budget.plan(key, dataclasses.replace(observed, children=children, **found))
            before, wanted = len(found), plan.requires - asked
            asked |= wanted
            found = await self._inputs.read(key, plan, wanted, found)
            if len(found) == before:
                return plan

    async def _whole_statefulsets(self, key: ServiceKey) -> dict[ObjectKey, Object]:
        """Those of the service of which the cache has no spec, because they or others of the namespace are too large:
        no plan is possible without it. They are read for each plan, and kept no longer."""
        stubs = [each for each in self._cache.related(key) if each["kind"] == STATEFULSET.kind and not each.get("spec")]
        found = {object_key(each): await self._cluster.get(STATEFULSET, *object_key(each)[1:]) for each in stubs}
        return {name: trim(live) for name, live in found.items() if live is not None}

    async def _served(self, key: ServiceKey) -> bool:
        """Whether the service is one of those of its namespace that are served; its status says so where it is none.
        One that is again is read whole."""
        service = self._cache.service(key)
        if service is None:
            return True
        finding = plan_failure.beyond(key[0], self._cache.order.most)
        if not self._cache.order.exceeds(key):
            if self._cache.is_reduced(key):
                live = await self._cluster.get(kind_of(service["apiVersion"], service["kind"]), *key)
                if live is None:
                    return False
                self._cache.put(live)
            service = self._cache.service(key)
            if service is None or not self._cache.is_reduced(key):
                return service is not None
            finding = plan_failure.too_much(key[0])
        if not service["metadata"].get("deletionTimestamp"):
            generation = service["metadata"].get("generation")
            status = plan_failure.not_accepted(service.get("status"), finding, self._now(), generation)
            await self._executor.status(service, status)
            self._count(key, _verdict(status))
        return False

    async def _pause(self, key: ServiceKey) -> float | None:
        """Seconds for which the service is left alone, because planning it takes too long; None for any other."""
        service = self._cache.service(key)
        pause = self._budget.pause(key, service) if service is not None else None
        if service is None or pause is None:
            return None
        excess = self._budget.excess(key)
        if excess is not None and not plan_failure.reported(service.get("status"), reasons.PLAN_OVER_BUDGET):
            await self._tell_unplanned(key, plan_failure.over_budget(excess, planning_budget.SECONDS))
        return pause

    async def _tell_unplanned(self, key: ServiceKey, finding: Finding) -> None:
        """Write into the status why there is no plan."""
        service = self._cache.service(key)
        if service is not None:
            status = plan_failure.with_finding(service.get("status"), finding, self._now())
            await self._executor.status(service, status)
            self._count(key, _verdict(status))

    def _observe(self, key: ServiceKey, service: Object) -> Observed:
        related = self._cache.related(key)
        known = {object_key(obj) for obj in related}
        strangers = [obj for name, obj in self._strangers.get(key, {}).items() if name not in known]
        return Observed(
            service=service,
            children=[obj for obj in related if obj["kind"] != POD.kind] + strangers,
            pods=[obj for obj in related if obj["kind"] == POD.kind],
            nodes=None,
            platform=self._platform,
            now=self._now(),
            outlook=self._outlook(key),
            estimate=self._estimates.last(key),
            products=self._capacity.known_products(),
        )

    async def _look_at_strangers(self, key: ServiceKey) -> None:
        """See which taken names are free by now."""
        strangers = self._strangers.pop(key, {})
        for name, seen in strangers.items():
            live = await self._cluster.get(kind_of(seen["apiVersion"], seen["kind"]), name[1], name[2])
            if live is not None:
                self._strangers.setdefault(key, {})[name] = stub(live)

    async def _tell(self, key: ServiceKey, plan: Plan, failure: RequestRefused | NotFound | None) -> bool:
        """Write the status where it differs, then send the Events. Returns whether the status was written."""
        service = self._cache.service(key)
        if service is None or plan.status is None:
            return False
        status: dict[str, Any] = plan.status
        if failure is not None:
            status = status_with_apply_error(
                status, failure.message, self._now(), service["metadata"].get("generation")
            )
        excess = self._budget.excess(key)
        if excess is not None:
            status = plan_failure.with_finding(
                status, plan_failure.over_budget(excess, planning_budget.SECONDS), self._now()
            )
        before, after = _verdict(service.get("status")), _verdict(status)
        wrote = await self._executor.status(service, status)
        if wrote and before != after:
            logger.info("%s/%s: Ready is %s: %s: %s", *key, *after, _message(status))
        self._count(key, after)
        for event in plan.events:
            await self._events.send(service, event)
        return wrote

    def _count(self, key: ServiceKey, verdict: tuple[str, str] | None) -> None:
        """Count a service by its verdict. A pod may make up reasons without end: what the operator doesn't know has
        one series, and a series without a service goes."""
        old = self._verdicts.pop(key, None)
        if verdict is not None:
            status, reason = verdict
            verdict = (
                status if status in _STATUSES else "Unknown",
                reason if not reason or reason in reasons.TABLE else OTHER_REASON,
            )
            self._verdicts[key] = verdict
            self._counts[verdict] += 1
            metrics.SERVICES.labels(*verdict).set(self._counts[verdict])
        if old is not None:
            self._counts[old] -= 1
            metrics.SERVICES.labels(*old).set(self._counts[old])
            if not self._counts[old]:
                del self._counts[old]
                metrics.SERVICES.remove(*old)


def _ready(status: Any) -> dict[str, Any]:
    conditions = (status or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def _verdict(status: Any) -> tuple[str, str]:
    ready = _ready(status)
    return ready.get("status", "Unknown"), ready.get("reason", "")


def _message(status: Any) -> str:
    return str(_ready(status).get("message", ""))
