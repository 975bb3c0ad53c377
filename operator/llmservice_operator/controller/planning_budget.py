"""What planning one service may cost: 0.1 s of CPU, which no other service has to wait for.

A plan runs on the event loop, so a service whose plans take longer would hold up all others. After two in a row that
did, it is left alone until its spec or its model changes, or for ten minutes, and its status says so. What it costs
stays below a share of the loop's time in any case, however often the spec changes.
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
"""CPU of one plan. That of a thousand replicas takes a quarter of it."""
IN_A_ROW = 2
"""Plans above it, one after the other, for which a service is left alone: a single one may be Python's own garbage
collection."""
PAUSE_SECONDS = 600.0
"""How long it is left alone where nothing changes."""
SHARE = 20
"""After a change it is planned again once so many times what the last plan took have passed."""
MOST_NAMED = 50
"""Services that the metric names; all others are one."""

logger = logging.getLogger(__name__)


class PlanFailed(Exception):
    """Planning a service raised ``error``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"planning failed with {type(error).__name__}: {error}")
        self.error = error


@dataclasses.dataclass
class Excess:
    """What a service's last plans took too much."""

    version: tuple[Any, ...]
    """Of what it was planned for."""
    seconds: float
    """Of CPU, the last plan."""
    at: float
    """When that was, on the clock."""
    times: int = 1


class Budget:
    """Plans services with ``plan``, and says which are not to be planned now. ``cpu`` tells the CPU time of this
    thread."""

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
        """The plan, measured. Raises PlanFailed."""
        began = self._cpu()
        try:
            return self._plan(observed)
        except Exception as error:
            raise PlanFailed(error) from error
        finally:
            self._took(key, observed.service, self._cpu() - began)

    def excess(self, key: ServiceKey) -> float | None:
        """CPU seconds of the last plan of a service that is to be left alone; None for any other."""
        found = self._over.get(key)
        return found.seconds if found is not None and found.times >= IN_A_ROW else None

    def pause(self, key: ServiceKey, service: Object) -> float | None:
        """Seconds for which the service is not to be planned; None where it may be now."""
        found = self._over.get(key)
        if found is None or found.times < IN_A_ROW:
            return None
        pause = PAUSE_SECONDS if found.version == _version(service) else SHARE * found.seconds
        left = found.at + pause - self._clock()
        return left if left > 0 else None

    def forget(self, key: ServiceKey) -> None:
        """The service is gone."""
        self._over.pop(key, None)

    def _took(self, key: ServiceKey, service: Object, seconds: float) -> None:
        metrics.PLAN_CPU_SECONDS.observe(seconds)
        if seconds <= SECONDS:
            self._over.pop(key, None)
            return
        metrics.PLANS_OVER_BUDGET.labels(*self._name(key)).inc()
        before = self._over.get(key)
        self._over[key] = Excess(_version(service), seconds, self._clock(), before.times + 1 if before else 1)
        if self._over[key].times == IN_A_ROW:
            logger.warning(
                "%s/%s: planning takes %.2f s of CPU, more than %g s; it is planned again when its spec or model "
                "changes, or in %.0f s",
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
    """What a service is planned for: its spec and its model."""
    model = (service.get("status") or {}).get("model") or {}
    return service["metadata"].get("uid"), service["metadata"].get("generation"), model.get("configuration")
