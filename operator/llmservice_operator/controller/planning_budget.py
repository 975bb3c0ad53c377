"""The CPU budget for planning one service: 0.1 s, because all other services wait meanwhile.

A plan is computed on the event loop, so slow plans of one service would delay all others. After two slow plans in a row
the service is not planned until its spec or its model changes, or for ten minutes, and its status says so. Its share of
the loop's time stays bounded, however often the spec changes.
"""

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

from llmservice_operator import metrics
from llmservice_operator.controller.informer.store import ServiceKey
from llmservice_operator.planner.model.observed import Object, Observed
from llmservice_operator.planner.model.plan import Plan

SECONDS = 0.1
"""CPU time of one plan, in seconds. A plan for a thousand replicas uses a quarter of it."""
IN_A_ROW = 2
"""Number of consecutive slow plans after which planning is paused. A single slow one may be due to Python's garbage
collection."""
PAUSE_SECONDS = 600.0
"""How long planning is paused if nothing changes, in seconds."""
SHARE = 20
"""After a change planning is paused for this multiple of the last plan's CPU time."""
MOST_NAMED = 50
"""Number of services that have their own label in the metric; all others share one."""

logger = logging.getLogger(__name__)


class PlanFailed(Exception):
    """Planning a service raised ``error``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"planning failed with {type(error).__name__}: {error}")
        self.error = error


@dataclasses.dataclass
class Excess:
    """The slow plans of a service."""

    version: tuple[Any, ...]
    """Version of the input of the last plan."""
    seconds: float
    """CPU time of the last plan."""
    at: float
    """Time of the last plan, on the clock."""
    times: int = 1


class Budget:
    """Computes plans with ``plan``, and pauses services with slow plans. ``cpu`` returns the CPU time of this thread in
    seconds."""

    def __init__(
        self,
        plan: Callable[[Observed], Plan],
        *,
        cpu: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._cpu = cpu
        self._clock = clock
        self._over: dict[ServiceKey, Excess] = {}
        self._named: set[ServiceKey] = set()

    def plan(self, key: ServiceKey, observed: Observed) -> Plan:
        """The plan; its CPU time is measured. Raises PlanFailed."""
        began = self._cpu()
        try:
            return self._plan(observed)
        except Exception as error:
            raise PlanFailed(error) from error
        finally:
            self._measured(key, observed.service, self._cpu() - began)

    def excess(self, key: ServiceKey) -> float | None:
        """CPU seconds of the last plan of a paused service; None for any other."""
        found = self._over.get(key)
        return found.seconds if found is not None and found.times >= IN_A_ROW else None

    def pause(self, key: ServiceKey, service: Object) -> float | None:
        """Seconds for which the service must not be planned; None if it may be planned now."""
        found = self._over.get(key)
        if found is None or found.times < IN_A_ROW:
            return None
        pause = PAUSE_SECONDS if found.version == _version(service) else SHARE * found.seconds
        left = found.at + pause - self._clock()
        return left if left > 0 else None

    def forget(self, key: ServiceKey) -> None:
        """Forgets a deleted service."""
        self._over.pop(key, None)

    def _measured(self, key: ServiceKey, service: Object, seconds: float) -> None:
        metrics.PLAN_CPU_SECONDS.observe(seconds)
        if seconds <= SECONDS:
            self._over.pop(key, None)
            return
        metrics.PLANS_OVER_BUDGET.labels(*self._name(key)).inc()
        before = self._over.get(key)
        self._over[key] = Excess(_version(service), seconds, self._clock(), before.times + 1 if before else 1)
        if self._over[key].times == IN_A_ROW:
            logger.warning(
                "%s/%s: planning takes %.2f s of CPU, more than %g s; the operator plans it again when its spec or "
                "model changes, or in %.0f s",
                *key,
                seconds,
                SECONDS,
                PAUSE_SECONDS,
            )

    def _name(self, key: ServiceKey) -> ServiceKey:
        if key not in self._named and len(self._named) < MOST_NAMED:
            self._named.add(key)
        return key if key in self._named else ("", "others")


def _version(service: Object) -> tuple[Any, ...]:
    """Version of a service's input: its spec and its model."""
    model = (service.get("status") or {}).get("model") or {}
    return service["metadata"].get("uid"), service["metadata"].get("generation"), model.get("configuration")
