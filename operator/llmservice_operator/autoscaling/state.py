"""What the law keeps between two steps, and how each look adds to it.

Times pass in seconds, never in steps: a loop that looks twice as often comes to the same conclusions. Growth is judged
by the replicas that bore the measured window (``proven``): new ones don't multiply before their own latencies are
measured.
"""

import math
from datetime import datetime

import msgspec

from llmservice_operator.autoscaling.demand import Demand

SMOOTHING_SECONDS = 30.0
"""Time constant of the smoothed load and rate: how long a change takes to weigh two thirds."""
CROWD_SECONDS = 60.0
"""Time constant with which the count of requests in flight is forgotten; it rises at once."""


class MissedTarget(msgspec.Struct, frozen=True, gc=False):
    """So many replicas missed the target at this rate: fewer are not tried at that rate again."""

    replicas: int
    rate: float
    """Requests per second: the highest seen from the miss until the replicas that mended it were measured."""
    at: datetime
    """When it was learnt."""
    learning: bool = True
    """The replicas that should mend it are still coming."""


class AutoscalerState(msgspec.Struct, frozen=True, gc=False):
    """Immutable; ``initial_state`` makes the first, each step the next."""

    count: int
    """Replicas that the law wants."""
    why: str
    """In words: what led to the count."""
    changed_at: datetime
    """When the count changed last."""
    serving: int | None = None
    """Ready replicas at the last look; None before the first."""
    serving_since: datetime | None = None
    """Since when there are as many."""
    proven: int = 0
    """Replicas that served through the whole window: those whose latencies were measured."""
    load: float | None = None
    """The smoothed load; None before anything was measured."""
    measured_at: datetime | None = None
    """When something was known last."""
    crowd: float = 0.0
    """Requests in flight: the most lately, fading."""
    rate: float = 0.0
    """Requests that finish per second, smoothed."""
    idle_since: datetime | None = None
    """Since when there were no requests, and that was known."""
    alone_since: datetime | None = None
    """Since when the target is missed with no more than about one request in flight per replica."""
    unreachable: str = ""
    """What is said about that."""
    lesson: MissedTarget | None = None
    asleep: bool = False
    """The count is 0 and so was spec.replicas: from here on one that is not 0 means that somebody wants it awake."""


def with_serving(memory: AutoscalerState, serving: int, now: datetime, settle: float) -> AutoscalerState:
    """The memory after so many replicas were seen ready; ``settle`` seconds later they count as proven."""
    since = memory.serving_since
    if since is None or serving != memory.serving:
        since = now
    if memory.serving is None or memory.proven == 0 or (now - since).total_seconds() >= settle:
        proven = serving
    else:
        proven = min(memory.proven, serving)
    return msgspec.structs.replace(memory, serving=serving, serving_since=since, proven=proven)


def with_demand(memory: AutoscalerState, seen: Demand, now: datetime) -> AutoscalerState:
    """The memory after a look that told something."""
    first = memory.measured_at is None
    passed = 0.0 if memory.measured_at is None else max(0.0, (now - memory.measured_at).total_seconds())
    weight = 1.0 if first else 1.0 - math.exp(-passed / SMOOTHING_SECONDS)
    load = memory.load
    if seen.load is not None:
        load = seen.load if load is None or seen.idle else load + weight * (seen.load - load)
    faded = seen.in_flight + (memory.crowd - seen.in_flight) * math.exp(-passed / CROWD_SECONDS)
    return msgspec.structs.replace(
        memory,
        load=load,
        measured_at=now,
        crowd=0.0 if seen.idle and seen.complete else max(seen.in_flight, faded),
        rate=memory.rate + weight * (seen.finished_per_second - memory.rate),
        idle_since=(memory.idle_since or now) if seen.idle and seen.complete else None,
    )
