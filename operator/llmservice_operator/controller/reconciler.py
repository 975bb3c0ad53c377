"""Reconciles one service: observe, plan, execute, write the status. Level-triggered: no state is kept between
reconciliations that the cluster does not have, so that the next reconciliation repairs a crash at any point.
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
from llmservice_operator.controller.field_owners import FieldOwners
from llmservice_operator.controller.gateway_counts import GatewayCounts
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

NAME_CONFLICT_SECONDS = 30.0
"""How often unowned objects with the name of a child are read again: they are not watched."""
OTHER_REASON = "Other"
"""Label of services whose reason this operator doesn't know."""
_STATUSES = ("True", "False", "Unknown")
MAX_NAME_CONFLICTS = 8
"""Maximum number of name conflicts in one reconciliation; more than a service has children."""

logger = logging.getLogger(__name__)


class Reconciler:
    """Reconciles services. ``plan`` and ``differs`` are the planner's functions, ``outlook`` the autoscaler's;
    ``platform`` returns the settings as they are now."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        cache: Cache,
        capacity: Capacity,
        events: Events,
        estimates: Estimates,
        platform: Callable[[], Platform],
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
        self._executor = Executor(cluster, cache, differs, now)
        self._field_owners = FieldOwners(cluster)
        canaries = GatewayCounts(platform().gateway_url)
        self._inputs = Inputs(capacity, NamespaceEvents(cluster), estimates, self._field_owners, canaries)
        self._unowned: dict[ServiceKey, dict[ObjectKey, Object]] = {}
        """Unowned objects with the names of children. Admission policies and the bounds of the cache do not apply to
        their content."""
        self._verdicts: dict[ServiceKey, tuple[str, str]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        """Number of services by verdict, for the metric."""

    async def reconcile(self, key: ServiceKey) -> float | None:
        """One reconciliation. Returns the seconds after which the service has to be reconciled because time passes, or
        None.

        Raises ApiError if the plan could not be executed; the work queue retries then.
        """
        started = time.perf_counter()
        result = "ok"
        try:
            return await self._reconcile(key)
        except PlanFailed as failure:
            result = PlanFailed.__name__
            await self._report_unplanned(key, plan_failure.failed(failure.error))
            raise
        except BaseException as error:
            result = type(error).__name__
            raise
        finally:
            metrics.RECONCILES.labels(result).inc()
            metrics.RECONCILE_SECONDS.observe(time.perf_counter() - started)

    async def _reconcile(self, key: ServiceKey) -> float | None:
        if self._cache.service(key) is None:
            self._unowned.pop(key, None)
            self._estimates.forget(key)
            self._budget.forget(key)
            self._count(key, None)
            self._executor.forget(key)
            self._field_owners.forget(key)
            await self._executor.delete_orphans(self._cache.related(key))
            return None
        if not await self._is_managed(key):
            return None
        service = self._cache.service(key)
        if service is not None and (wait := await self._executor.create_again(service)) is not None:
            return wait
        pause = await self._pause(key)
        if pause is not None:
            return pause
        await self._reread_unowned(key)
        failure: RequestRefused | NotFound | None = None
        wrote = False
        for _ in range(MAX_NAME_CONFLICTS):
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
                wrote |= await self._executor.gateways(service, plan)
                break
            except UnownedObjectError as found:
                self._unowned.setdefault(key, {})[object_key(found.unowned)] = stub(found.unowned)
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
            plan = await self._planned(key, service)  # the status describes the current objects
        wrote |= await self._report(key, plan, failure)
        if failure is not None:
            raise failure
        if wrote:  # the response may include changes by others for which no watch event follows
            return 0.0
        if key in self._unowned:
            return min(NAME_CONFLICT_SECONDS, plan.requeue_after or NAME_CONFLICT_SECONDS)
        return plan.requeue_after

    async def _planned(self, key: ServiceKey, service: Object) -> Plan:
        """The plan with the inputs that it requires and that can be read. Each input is read once per reconciliation;
        later changes cause another reconciliation."""
        found: dict[str, Any] = {}
        asked: set[Input] = set()
        whole = await self._whole_statefulsets(key)
        while True:
            observed = self._observe(key, service)
            children = [whole.get(object_key(child), child) for child in observed.children]
            plan = self._budget.plan(key, dataclasses.replace(observed, children=children, **found))
            before, wanted = found, plan.requires - asked
            asked |= wanted
            found = await self._inputs.read(key, plan, wanted, found)
            if found == before:
                return plan

    async def _whole_statefulsets(self, key: ServiceKey) -> dict[ObjectKey, Object]:
        """StatefulSets of the service whose spec is not in the cache, because the objects of the namespace are too
        large. A plan needs the spec, so it is read for each plan and not kept."""
        stubs = [each for each in self._cache.related(key) if each["kind"] == STATEFULSET.kind and not each.get("spec")]
        found = {object_key(each): await self._cluster.get(STATEFULSET, *object_key(each)[1:]) for each in stubs}
        return {name: trim(live) for name, live in found.items() if live is not None}

    async def _is_managed(self, key: ServiceKey) -> bool:
        """Whether the operator manages the service: it manages only the oldest ones of a namespace. If not, the status
        says so. A service that is managed again is read completely."""
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
        """Seconds for which the service is not planned because its plans are too slow; None if it may be planned."""
        service = self._cache.service(key)
        pause = self._budget.pause(key, service) if service is not None else None
        if service is None or pause is None:
            return None
        excess = self._budget.excess(key)
        if excess is not None and not plan_failure.reported(service.get("status"), reasons.PLAN_OVER_BUDGET):
            await self._report_unplanned(key, plan_failure.over_budget(excess, planning_budget.SECONDS))
        return pause

    async def _report_unplanned(self, key: ServiceKey, finding: Finding) -> None:
        """Writes into the status why there is no plan."""
        service = self._cache.service(key)
        if service is not None:
            status = plan_failure.with_finding(service.get("status"), finding, self._now())
            await self._executor.status(service, status)
            self._count(key, _verdict(status))

    def _observe(self, key: ServiceKey, service: Object) -> Observed:
        related = self._cache.related(key)
        known = {object_key(obj) for obj in related}
        unowned = [obj for name, obj in self._unowned.get(key, {}).items() if name not in known]
        return Observed(
            service=service,
            children=[obj for obj in related if obj["kind"] != POD.kind] + unowned,
            pods=[obj for obj in related if obj["kind"] == POD.kind],
            nodes=None,
            platform=self._platform(),
            now=self._now(),
            models=self._cache.models_of(service),
            outlook=self._outlook(key),
            estimate=self._estimates.last(key),
            products=self._capacity.known_products(),
            corrections=self._executor.history.corrections(key),
            template_changes=self._executor.history.template_changes(key),
        )

    async def _reread_unowned(self, key: ServiceKey) -> None:
        """Finds out which unowned objects still exist."""
        unowned = self._unowned.pop(key, {})
        for name, seen in unowned.items():
            live = await self._cluster.get(kind_of(seen["apiVersion"], seen["kind"]), name[1], name[2])
            if live is not None:
                self._unowned.setdefault(key, {})[name] = stub(live)

    async def _report(self, key: ServiceKey, plan: Plan, failure: RequestRefused | NotFound | None) -> bool:
        """Writes the status if it differs, then sends the Events. Returns whether the status was written."""
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
        """Counts a service by its verdict. Anyone who may write pods can invent reasons, so all unknown reasons share
        one series. A series without services is removed."""
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
