"""The HPA controller's algorithm for one external metric with an AverageValue, as Kubernetes 1.37 has it.

For tests that need thousands of its decisions, or simulated hours. Written from the controller's source
(pkg/controller/podautoscaler); tests/cluster/test_hpa_controller.py compares it with the real one. One object is one
HPA and has the controller's in-memory state.
"""

import dataclasses
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

INT32 = 2**31 - 1
INT64 = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class Policy:
    type: str
    value: int
    period_seconds: int


@dataclasses.dataclass(frozen=True)
class Rules:
    stabilization_seconds: int
    policies: tuple[Policy, ...] = (Policy("Pods", 1000, 15),)
    select: str = "Max"


@dataclasses.dataclass(frozen=True)
class Sync:
    """What one look of the controller led to."""

    replicas: int
    """spec.replicas after it."""
    active: bool
    """The condition ScalingActive."""
    limited: str = ""
    """Reason of the condition ScalingLimited, where it is true."""


def proposal(usage: int, target: int, status_replicas: int, up: float = 0.0, down: float = 0.0) -> int:
    """The count that follows from the metric alone: usage and target in thousandths."""
    if status_replicas:
        ratio = usage / (target * status_replicas)
        if 1.0 - down <= ratio <= 1.0 + up:
            return status_replicas
    return min(math.ceil(usage / target), INT32)


class HPA:
    """One HorizontalPodAutoscaler."""

    def __init__(
        self,
        minimum: int,
        maximum: int,
        *,
        target: int = 100_000,
        tolerance: float = 0.0,
        up: Rules = Rules(0),
        down: Rules = Rules(300),
        scales_to_zero: bool = True,
    ) -> None:
        self.minimum, self.maximum, self.target, self.tolerance = minimum, maximum, target, tolerance
        self.up, self.down = up, down
        self.scales_to_zero = scales_to_zero
        self.scaled_to_zero = False
        self.recommendations: list[tuple[datetime, int]] = []
        self.added: list[tuple[datetime, int]] = []
        self.removed: list[tuple[datetime, int]] = []

    def sync(self, now: datetime, spec: int, status: int, usages: Sequence[int] | None) -> Sync:
        """One look: counts as the scale subresource has them, the series' values, or None for an error."""
        if not self.recommendations:
            self.recommendations.append((now, spec))
        woken = self.scales_to_zero and self.scaled_to_zero
        if spec == 0 and not woken:
            return Sync(0, active=False)
        if spec > self.maximum:
            return self._rescale(now, spec, Sync(self.maximum, active=True))
        if 0 < spec < self.minimum:
            return self._rescale(now, spec, Sync(self.minimum, active=True))
        if not usages:
            return Sync(spec, active=False)
        wanted = proposal(min(sum(usages), INT64), self.target, status, self.tolerance, self.tolerance)
        desired, limited = self._limit(now, spec, self._stabilize(now, spec, wanted))
        if spec == 0 and desired < self.minimum:
            desired = self.minimum
        return self._rescale(now, spec, Sync(desired, active=True, limited=limited))

    def _rescale(self, now: datetime, spec: int, result: Sync) -> Sync:
        if result.replicas != spec:
            change = (now, abs(result.replicas - spec))
            (self.added if result.replicas > spec else self.removed).append(change)
            self.scaled_to_zero = self.scales_to_zero and spec > 0 and result.replicas == 0 and self.minimum == 0
        return result

    def _stabilize(self, now: datetime, spec: int, wanted: int) -> int:
        def recent(rules: Rules) -> list[int]:
            cutoff = now - timedelta(seconds=rules.stabilization_seconds)
            return [count for at, count in self.recommendations if at > cutoff]

        lowest, highest = min([wanted, *recent(self.up)]), max([wanted, *recent(self.down)])
        self.recommendations.append((now, wanted))
        return min(max(spec, lowest), highest)

    def _limit(self, now: datetime, spec: int, wanted: int) -> tuple[int, str]:
        if wanted > spec:
            limit = max(spec, self._rate_limit(now, spec, self.up, 1))
            if wanted > min(self.maximum, limit):
                return min(self.maximum, limit), "ScaleUpLimit" if self.maximum > limit else "TooManyReplicas"
        if wanted < spec:
            limit = min(spec, self._rate_limit(now, spec, self.down, -1))
            if wanted < max(self.minimum, limit):
                return max(self.minimum, limit), "ScaleDownLimit" if self.minimum < limit else "TooFewReplicas"
        return wanted, ""

    def _rate_limit(self, now: datetime, spec: int, rules: Rules, sign: int) -> int:
        if rules.select == "Disabled":
            return spec
        limits = []
        for policy in rules.policies:
            cutoff = now - timedelta(seconds=policy.period_seconds)
            added = sum(change for at, change in self.added if at > cutoff)
            removed = sum(change for at, change in self.removed if at > cutoff)
            start = spec - added + removed
            if policy.type == "Pods":
                limits.append(start + sign * policy.value)
            elif sign > 0:
                limits.append(math.ceil(start * (1 + policy.value / 100)))
            else:
                limits.append(int(start * (1 - policy.value / 100)))
        most_change = (rules.select == "Max") == (sign > 0)
        return max(limits) if most_change else min(limits)
