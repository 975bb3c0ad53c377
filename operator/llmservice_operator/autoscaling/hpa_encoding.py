"""Encodes a count as the metric value that makes a HorizontalPodAutoscaler scale to it.

The HPA divides the metric by the target of one replica and rounds up, so that each count has an interval of values. The
value is in that interval, as near to the measured load as possible, and in whole percents of a replica if it can be:
``kubectl describe hpa`` shows the load, and the HPA scales to the count. The value is kept while it means the same
count and the load changes little, because an HPA writes its status whenever the value changes.

Within its tolerance the HPA does not scale. If the tolerance can't be set to 0, counts near the current one can't be
reached; then the value stands for more replicas rather than fewer.
"""

import math

import msgspec

from llmservice_operator.autoscaling.external_metrics import TARGET_LOAD

REPLICA = TARGET_LOAD * 1000
"""The load of one replica at its target, in thousandths of a percent: the HPA counts in thousandths."""
MARGIN = 1000
"""Distance from the open edge of a count's interval, so that rounding in adapters changes no count."""
STEADY = REPLICA // 5
"""Change of the mean replica's load for which another value of the same count is published."""


class Published(msgspec.Struct, frozen=True, gc=False):
    """The published metric value."""

    milli: int
    """Thousandths of a percent, all replicas together: the metric as a quantity in milli-units."""
    count: int
    """The replicas that the HPA scales to, before its behavior limits the speed."""
    current: int
    """The replicas at the time of the decision."""


def published(
    count: int,
    load: float,
    *,
    current: int,
    tolerance: float,
    minimum: int,
    maximum: int,
    before: Published | None = None,
) -> Published:
    """The value that makes the HPA scale to the count.

    ``load`` is that of the mean replica as a fraction of its target, ``current`` the count as the HPA reads it
    (status.replicas), ``tolerance`` the HPA's (0 where its behavior says 0), the bounds are the HPA's own; ``before``
    is the last value for this HPA, with the same tolerance.
    """
    now = _exact(count, load, current, tolerance, minimum, maximum)
    if before is None or (before.count, before.current) != (now.count, now.current):
        return now
    return before if abs(before.milli - now.milli) < STEADY * max(1, current) else now


def _exact(count: int, load: float, current: int, tolerance: float, minimum: int, maximum: int) -> Published:
    wanted = min(max(count, minimum), maximum)
    true = round(REPLICA * load * current)
    if tolerance <= 0 or current <= 0:
        return Published(_nearest(true, *_edges(wanted), current), wanted, current)
    if wanted > current:
        return _upwards(wanted, true, current, tolerance, maximum)
    if wanted < current:
        return _downwards(wanted, true, current, tolerance, minimum)
    return Published(_nearest(true, *_edges(current), current), current, current)


def _upwards(wanted: int, true: int, current: int, tolerance: float, maximum: int) -> Published:
    """Above the tolerance, at the smallest count that is not below the wanted one."""
    reached = wanted
    while reached / current <= 1.0 + tolerance:
        reached += 1
    low, high = _edges(reached)
    edge = math.floor((1.0 + tolerance) * current * REPLICA) + MARGIN
    return Published(_nearest(true, min(max(low, edge), high), high, current), min(reached, maximum), current)


def _downwards(wanted: int, true: int, current: int, tolerance: float, minimum: int) -> Published:
    """Below the tolerance, or at the current count if the wanted count is within the tolerance.

    A desired count that is the minimum is always reached, because the HPA does not go below it.
    """
    edge = math.ceil((1.0 - tolerance) * current * REPLICA) - MARGIN
    low, high = _edges(wanted)
    if low <= edge:
        return Published(_nearest(true, low, min(high, edge), current), wanted, current)
    if wanted == minimum:
        return Published(max(0, edge), wanted, current)
    return Published(_nearest(true, *_edges(current), current), current, current)


def _edges(count: int) -> tuple[int, int]:
    """The smallest and the largest value for a count."""
    return max(0, (count - 1) * REPLICA + MARGIN) if count else 0, count * REPLICA


def _nearest(true: int, low: int, high: int, current: int) -> int:
    """The value between the edges that is nearest to ``true``, in whole percents of a replica if there is one."""
    exact = min(max(true, low), high)
    step = 1000 * max(1, current)
    whole = [number for number in (exact // step * step, -(-exact // step) * step) if low <= number <= high]
    return min(whole, key=lambda number: abs(number - exact), default=exact)
