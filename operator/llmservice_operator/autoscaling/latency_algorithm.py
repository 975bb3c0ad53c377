"""The algorithm ``Latency``: as many replicas as keep the latencies within their targets.

- Up as soon as both the latest and the smoothed load exceed the target, in proportion, from the replicas whose
  latencies were measured: replicas that are still starting count, and are not requested twice.
- Down only if both are well below the target and nothing changed for a window; at most by half, and not to a count that
  recently missed the target at this rate.
- More replicas than in-flight requests have no effect: they are not requested, and are removed.
- Unknown metrics never lower the count. Manual changes of spec.replicas do not change it, with one exception: a value
  above 0 wakes a service that is scaled to zero.

The algorithm waits for at most one window: keeping replicas for longer is the autoscaler's scale-down stabilization.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from llmservice_operator.autoscaling.algorithm import ReplicaBounds, ReplicaCounts, ScalingDecision, ScalingInputs
from llmservice_operator.autoscaling.demand import CLAMP, Demand, demand
from llmservice_operator.autoscaling.latency import Target
from llmservice_operator.autoscaling.state import AutoscalerState, MissedTarget, with_demand, with_serving

__all__ = ["CLAMP", "AutoscalerState", "initial_state", "step"]

DOWN_TO = 0.6
"""Load of each replica after scaling down, if load and replicas are in proportion."""
SETTLED_WINDOWS = 1.5
"""Windows after which new replicas have worked off the queue, so that latencies are those of the new count."""
MISSED_SECONDS = 1800
"""How long a count that missed the target is not tried again at that rate."""
MISSED_MARGIN = 0.8
"""Fraction of the rate at a miss that the same replicas can serve."""
UNLOADED = 1.25
"""In-flight requests per replica up to which they hardly slow each other down."""
IN_FLIGHT_SLACK = 0.25
"""What decay leaves of finished requests counts as no request."""


def initial_state(count: int, now: datetime) -> AutoscalerState:
    """The state before the first step of a service with ``count`` replicas."""
    return AutoscalerState(count=count, why=f"{count}: unchanged since the operator started", changed_at=now)


def step(state: AutoscalerState, inputs: ScalingInputs) -> tuple[AutoscalerState, ScalingDecision]:
    """Decides once."""
    memory, fleet, now, window = state, inputs.replicas, inputs.now, inputs.window
    signals, targets, bounds = inputs.signals, inputs.targets, inputs.bounds
    before = memory.count
    seen = demand(signals, targets, fleet.ready) if signals is not None else None
    memory = with_serving(memory, fleet.ready, now, SETTLED_WINDOWS * window)
    memory = with_demand(memory, seen, now) if seen else msgspec.structs.replace(memory, idle_since=None)
    memory = _with_missed_target(memory, fleet, now)
    memory = _with_unloaded(memory, seen, targets, fleet, now, window)
    asked, why = _asked(memory, seen, inputs)
    count, why = _bounded(before, asked, why, bounds)
    if count != before:
        memory = msgspec.structs.replace(memory, count=count, why=f"{before} -> {count}: {why}", changed_at=now)
        memory = _with_miss(memory, before, now) if before else msgspec.structs.replace(memory, idle_since=None)
    asleep = count == 0 and (fleet.desired == 0 or memory.asleep)
    if asleep is not memory.asleep:
        memory = msgspec.structs.replace(memory, asleep=asleep)
    return memory, ScalingDecision(
        count=count,
        load=memory.load if seen else None,
        why=memory.why,
        changed=count != before,
        limited="maximum" if asked > bounds.maximum else "minimum" if asked < bounds.minimum and seen else "",
        unreachable=memory.unreachable,
    )


def _asked(memory: AutoscalerState, seen: Demand | None, inputs: ScalingInputs) -> tuple[int, str]:
    """The count without bounds, and why if it changes."""
    fleet, now = inputs.replicas, inputs.now
    count = memory.count
    if count == 0:
        if memory.asleep and fleet.desired > 0:
            return 1, "spec.replicas was set to a value above 0"
        if seen and not seen.idle:
            return 1, "requests arrived"
        return 0, ""
    if seen is None or fleet.ready == 0:
        return count, ""
    if seen.idle:
        return _idle(memory, seen, inputs.bounds, now, inputs.idle)
    if seen.load is None or memory.load is None:
        return count, ""
    up = math.ceil(_clean(memory.proven * min(seen.load, memory.load)))
    if seen.complete:
        up = min(up, _occupied_replicas(memory))
    if up > count:
        return up, f"{seen.cause}, {_replicas(fleet.ready)} serving"
    still = now - max(memory.changed_at, memory.serving_since or now) >= timedelta(seconds=inputs.window)
    if seen.complete and still and fleet.ready >= count:
        return _down(memory, seen.load, fleet.ready, now)
    return count, ""


def _idle(
    memory: AutoscalerState, seen: Demand, bounds: ReplicaBounds, now: datetime, seconds: float
) -> tuple[int, str]:
    """Without requests: one replica, and zero after the idle time."""
    if not seen.complete:
        return memory.count, ""
    since = memory.idle_since or now
    if bounds.minimum == 0 and now - since >= timedelta(seconds=seconds):
        return 0, f"no requests for {seconds:.0f} s"
    return 1, "no requests"


def _down(memory: AutoscalerState, latest: float, serving: int, now: datetime) -> tuple[int, str]:
    """The fewest replicas that the load, the last missed target and the in-flight requests allow; at least half."""
    load = max(latest, memory.load or 0.0)
    least = max(math.ceil(serving / 2), _fewest_at_rate(memory, now), 1)
    by_load = max(math.ceil(_clean(serving * load / DOWN_TO)), least)
    by_requests = max(_occupied_replicas(memory), least)
    if by_requests < min(by_load, memory.count):
        return by_requests, f"more replicas than requests in flight ({_occupied_replicas(memory)}) have no effect"
    if by_load < memory.count:
        return by_load, f"load {100 * load:.0f} % of target, {_replicas(serving)} serving"
    return memory.count, ""


def _bounded(before: int, asked: int, why: str, bounds: ReplicaBounds) -> tuple[int, str]:
    count = min(max(asked, bounds.minimum), bounds.maximum)
    if asked < bounds.minimum and count > before:
        return count, why if before == 0 and why else f"minReplicas is {bounds.minimum}"
    if asked > bounds.maximum and count < before:
        return count, f"maxReplicas is {bounds.maximum}"
    return count, why


def _occupied_replicas(memory: AutoscalerState) -> int:
    """Replicas with at least one in-flight request each."""
    return max(1, math.ceil(memory.in_flight - IN_FLIGHT_SLACK))


def _fewest_at_rate(memory: AutoscalerState, now: datetime) -> int:
    """The fewest replicas for the current rate, according to the last missed target."""
    missed_target = memory.missed_target
    if missed_target is None or missed_target.rate <= 0 or now - missed_target.at > timedelta(seconds=MISSED_SECONDS):
        return 0
    return math.ceil(_clean(memory.rate * missed_target.replicas / (MISSED_MARGIN * missed_target.rate)))


def _with_missed_target(memory: AutoscalerState, fleet: ReplicaCounts, now: datetime) -> AutoscalerState:
    """Update the missed target until the additional replicas have served long enough to be measured."""
    missed_target = memory.missed_target
    if missed_target is None or not missed_target.learning:
        return memory
    mended = min(fleet.ready, memory.proven) >= memory.count
    learned = msgspec.structs.replace(
        missed_target, rate=max(missed_target.rate, memory.rate), at=now, learning=not mended
    )
    return msgspec.structs.replace(memory, missed_target=learned)


def _with_miss(memory: AutoscalerState, before: int, now: datetime) -> AutoscalerState:
    """The state after the count changed: scaling up because of a miss starts or continues a missed target."""
    if memory.count < before or (memory.load or 0.0) <= 1.0 or not memory.proven:
        return memory
    if memory.missed_target and memory.missed_target.learning and memory.missed_target.replicas == memory.proven:
        return memory
    return msgspec.structs.replace(memory, missed_target=MissedTarget(memory.proven, memory.rate, now))


def _with_unloaded(
    memory: AutoscalerState,
    seen: Demand | None,
    targets: Sequence[Target],
    fleet: ReplicaCounts,
    now: datetime,
    window: float,
) -> AutoscalerState:
    """Whether requests miss the target although they hardly slow each other down."""
    if seen is None or (seen.load is None and not seen.idle):
        return memory
    missed = min(seen.load or 0.0, memory.load or 0.0) > 1.0
    lone = seen.complete and 0 < memory.in_flight <= UNLOADED * fleet.ready and fleet.ready >= memory.count
    if not (missed and lone):
        if memory.unloaded_since is None and not memory.unreachable:
            return memory
        return msgspec.structs.replace(memory, unloaded_since=None, unreachable="")
    since = memory.unloaded_since or now
    said = memory.unreachable
    if not said and now - since >= timedelta(seconds=window):
        said = f"{seen.cause}, with at most about one request in flight per replica: more replicas do not help"
    return msgspec.structs.replace(memory, unloaded_since=since, unreachable=said)


def _replicas(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'}"


def _clean(number: float) -> float:
    """Without the rounding error of floating point."""
    return round(number, 9)
