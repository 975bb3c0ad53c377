"""The state of the algorithm between two steps, and how each measurement changes it.

Durations are in seconds, never in steps: the interval of the loop does not change the result. Growth is computed
from the replicas that served during the whole measured window (``proven``): new replicas do not lead to more replicas
before their own latencies are measured.
"""

import math
from datetime import datetime

import msgspec

from llmservice_operator.autoscaling.demand import Demand

SMOOTHING_SECONDS = 30.0
"""Time constant of the smoothed load and rate: after this time a change counts for about two thirds."""
IN_FLIGHT_SECONDS = 60.0
"""Time constant with which the number of in-flight requests decays; it rises immediately."""


class MissedTarget(msgspec.Struct, frozen=True, gc=False):
    """A count that missed the target at a rate: fewer replicas are not tried at that rate again."""

    replicas: int
    rate: float
    """Requests per second: the maximum from the miss until the additional replicas were measured."""
    at: datetime
    """When it was measured last."""
    learning: bool = True
    """Whether the additional replicas are still starting."""


class AutoscalerState(msgspec.Struct, frozen=True, gc=False):
    """Immutable. ``initial_state`` creates the first one, each step the next one."""

    count: int
    """Desired replicas."""
    why: str
    """Why the count has its value."""
    changed_at: datetime
    """When the count last changed."""
    serving: int | None = None
    """Ready replicas at the last step; None before the first."""
    serving_since: datetime | None = None
    """Since when that number is the same."""
    proven: int = 0
    """Replicas that served during the whole window: those whose latencies were measured."""
    load: float | None = None
    """Smoothed load; None before the first measurement."""
    measured_at: datetime | None = None
    """Time of the last measurement."""
    in_flight: float = 0.0
    """In-flight requests: the recent maximum, decaying."""
    rate: float = 0.0
    """Finished requests per second, smoothed."""
    idle_since: datetime | None = None
    """Since when measurements show no requests."""
    unloaded_since: datetime | None = None
    """Since when the target is missed with at most about one in-flight request per replica."""
    unreachable: str = ""
    """The message about that."""
    missed_target: MissedTarget | None = None
    asleep: bool = False
    """Whether the count is 0 and spec.replicas was, too: a spec.replicas above 0 then means that a user wakes it."""


def with_serving(memory: AutoscalerState, serving: int, now: datetime, settle: float) -> AutoscalerState:
    """The state after ``serving`` replicas were ready; after ``settle`` seconds they count as proven."""
    since = memory.serving_since
    if since is None or serving != memory.serving:
        since = now
    if memory.serving is None or memory.proven == 0 or (now - since).total_seconds() >= settle:
        proven = serving
    else:
        proven = min(memory.proven, serving)
    return msgspec.structs.replace(memory, serving=serving, serving_since=since, proven=proven)


def with_demand(memory: AutoscalerState, seen: Demand, now: datetime) -> AutoscalerState:
    """The state after a measurement."""
    first = memory.measured_at is None
    passed = 0.0 if memory.measured_at is None else max(0.0, (now - memory.measured_at).total_seconds())
    weight = 1.0 if first else 1.0 - math.exp(-passed / SMOOTHING_SECONDS)
    load = memory.load
    if seen.load is not None:
        load = seen.load if load is None or seen.idle else load + weight * (seen.load - load)
    faded = seen.in_flight + (memory.in_flight - seen.in_flight) * math.exp(-passed / IN_FLIGHT_SECONDS)
    return msgspec.structs.replace(
        memory,
        load=load,
        measured_at=now,
        in_flight=0.0 if seen.idle and seen.complete else max(seen.in_flight, faded),
        rate=memory.rate + weight * (seen.finished_per_second - memory.rate),
        idle_since=(memory.idle_since or now) if seen.idle and seen.complete else None,
    )
