"""How a HorizontalPodAutoscaler is told a count: by the one number that makes it arrive there.

The HPA divides what is published by the target of one replica and rounds up, so that each count has an interval of
numbers to itself. The number lies in that interval, as near to the true load as the interval allows, and in whole
percents of a replica where it can: what people see in ``kubectl describe hpa`` is the load, where the HPA goes is the
count. It stays what it was while it means the same count and the load moves little: an HPA writes its status whenever
the number is another, and every latency measured anew is another.

Within its tolerance the HPA doesn't move at all. Where the tolerance can't be set to 0, counts near the present one are
out of reach; then more is asked for rather than less, and nobody is sent below what was wanted.
"""

import math

import msgspec

from llmservice_operator.autoscaling.external_metrics import TARGET_LOAD

REPLICA = TARGET_LOAD * 1000
"""What one replica bears, in thousandths of a percent: the HPA counts in thousandths."""
MARGIN = 1000
"""Distance kept from a count's open edge: what adapters in between lose by rounding moves no count."""
STEADY = REPLICA // 5
"""What the load of the mean replica has to move by for another number that means the same count."""


class Published(msgspec.Struct, frozen=True, gc=False):
    """What the HPA is told."""

    milli: int
    """Thousandths of a percent, all replicas together: the value of the metric as a quantity in milli-units."""
    count: int
    """The replicas at which the HPA arrives, before its behavior slows it down."""
    current: int
    """The replicas that it was decided for."""


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
    """The number that brings the HPA to the count.

    ``load`` is that of the mean replica as a fraction of its target, ``current`` the count as the HPA reads it
    (status.replicas), ``tolerance`` the HPA's (0 where its behavior says 0), the bounds are the HPA's own; ``before``
    is what this HPA was told before, with the same tolerance.
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
    """Beyond the upper edge of the tolerance, at the least count that is not below the wanted one."""
    reached = wanted
    while reached / current <= 1.0 + tolerance:
        reached += 1
    low, high = _edges(reached)
    edge = math.floor((1.0 + tolerance) * current * REPLICA) + MARGIN
    return Published(_nearest(true, min(max(low, edge), high), high, current), min(reached, maximum), current)


def _downwards(wanted: int, true: int, current: int, tolerance: float, minimum: int) -> Published:
    """Below the lower edge of the tolerance, or where the wanted count lies within it, at the present count.

    A wanted count that is the minimum is always reached: the HPA goes no further.
    """
    edge = math.ceil((1.0 - tolerance) * current * REPLICA) - MARGIN
    low, high = _edges(wanted)
    if low <= edge:
        return Published(_nearest(true, low, min(high, edge), current), wanted, current)
    if wanted == minimum:
        return Published(max(0, edge), wanted, current)
    return Published(_nearest(true, *_edges(current), current), current, current)


def _edges(count: int) -> tuple[int, int]:
    """The least and the greatest number published for a count."""
    return max(0, (count - 1) * REPLICA + MARGIN) if count else 0, count * REPLICA


def _nearest(true: int, low: int, high: int, current: int) -> int:
    """The number between the edges that is nearest to the true one, in whole percents of a replica if there is one."""
    exact = min(max(true, low), high)
    step = 1000 * max(1, current)
    whole = [number for number in (exact // step * step, -(-exact // step) * step) if low <= number <= high]
    return min(whole, key=lambda number: abs(number - exact), default=exact)
