"""Conditions, replicas and latency targets of services as series for Prometheus, which dashboards and alerts use.

A target is a number, and PromQL can't choose a histogram's bucket by a number. So the objective of a target has the
label ``le`` of the bucket that counts the requests within it, and a query joins the two by that label.
"""

import bisect
from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.autoscaling.latency import Target
from llmservice_operator.autoscaling.prometheus_queries import BOUNDS
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.controller.scaling.scaling_request import replicas_of, request_of
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.status.conditions import CONDITIONS

Series = tuple[str, Mapping[str, str], float]

TYPES = frozenset(each.type for each in CONDITIONS)
"""Conditions that have series; those of other writers of the status have none."""
STATUSES = frozenset({"True", "False", "Unknown"})
OTHER_REASON = "Other"
"""A reason that the operator does not know."""


class ServiceSeries:
    """The series of all services in ``cache``: some twelve each."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._targets: dict[ServiceKey, tuple[tuple[str, int], tuple[Target, ...]]] = {}
        """The targets of each service, with the uid and generation that they were read from."""

    def exported(self) -> Iterator[Series]:
        """Name, labels and value of each. A service whose objects can't be read has none."""
        keys = list(self._cache.services())
        self._targets = {key: self._targets[key] for key in keys if key in self._targets}
        for key in keys:
            service = self._cache.service(key)
            if service is None or self._cache.is_reduced(key):
                continue
            labels = {external_metrics.NAMESPACE_LABEL: key[0], external_metrics.SERVICE_LABEL: key[1]}
            try:
                found = [*_conditions(labels, service), *self._replicas(key, labels, service)]
                found += self._objectives(key, labels, service)
            except (TypeError, ValueError, KeyError, AttributeError):
                continue
            yield from found

    def _replicas(self, key: ServiceKey, labels: Mapping[str, str], service: dict[str, Any]) -> Iterator[Series]:
        counts = replicas_of(self._cache, key, service)
        states = {"desired": counts.desired, "current": counts.existing, "ready": counts.ready}
        for state, count in states.items():
            yield external_metrics.REPLICAS, {**labels, "state": state}, float(count)

    def _objectives(self, key: ServiceKey, labels: Mapping[str, str], service: dict[str, Any]) -> Iterator[Series]:
        version = (str(service["metadata"]["uid"]), int(service["metadata"].get("generation", 0)))
        if self._targets.get(key, ((), ()))[0] != version:
            self._targets[key] = (version, request_of(service).targets)
        for target in self._targets[key][1]:
            percentile = f"p{target.percentile}"
            named = {
                **labels,
                external_metrics.LATENCY_LABEL: target.latency.value,
                external_metrics.PERCENTILE_LABEL: percentile,
            }
            yield external_metrics.TARGET, named, target.seconds
            yield external_metrics.OBJECTIVE, {**named, "le": bound_of(target)}, target.percentile / 100


def bound_of(target: Target) -> str:
    """The label ``le`` of the first bound that is not below the target, as engines print it: ``0.2``."""
    bounds = BOUNDS[target.latency]
    at = bisect.bisect_left(bounds, target.seconds)
    return repr(float(bounds[at])) if at < len(bounds) else "+Inf"


def _conditions(labels: Mapping[str, str], service: Mapping[str, Any]) -> Iterator[Series]:
    """The status may have other writers: unknown types are left out, unknown reasons are one."""
    seen = set[str]()
    for condition in (service.get("status") or {}).get("conditions") or ():
        kind, status, reason = (condition.get(part) for part in ("type", "status", "reason"))
        if kind not in TYPES or status not in STATUSES or kind in seen:
            continue
        seen.add(kind)
        known = reason if isinstance(reason, str) and reason in reasons.TABLE else OTHER_REASON
        yield external_metrics.CONDITION, {**labels, "type": kind, "status": status, "reason": known}, 1.0
