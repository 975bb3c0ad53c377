"""The algorithm ``Latency``: how many replicas keep the latencies within their targets.

- Up as soon as both the latest and the smoothed load say so, in proportion, from the replicas whose latencies were
  measured: what is still coming counts, and is never asked for twice.
- Down only where both are well below the target and everything has stood still for a window; at most by half, and not
  to a count that missed the target at this rate a short while ago.
- More replicas than requests in flight help nobody: those are not asked for, and are given up.
- What is not known never lowers the count. A hand that changes spec.replicas doesn't change it either, but for one: who
  sets it above 0 while the service sleeps wakes it.

Nothing more than a window is waited for: keeping replicas for a while is the autoscaler's own scale-down stabilization.
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
"""Fewer replicas are chosen so that this load is left to each, if load and replicas were in proportion."""
SETTLED_WINDOWS = 1.5
"""So many windows after replicas became ready, what waited for them is done and their latencies are their own."""
LESSON_SECONDS = 1800
"""So long a count that missed the target is not tried again at that rate."""
LESSON_MARGIN = 0.8
"""The part of the rate at a miss that the same replicas are trusted with."""
ALONE = 1.25
"""Requests in flight per replica up to which they hardly disturb each other."""
CROWD_SLACK = 0.25
"""What is left of requests that have gone is no request."""


def initial_state(count: int, now: datetime) -> AutoscalerState:
    """The memory before the first step of a service that has so many replicas."""
    return AutoscalerState(count=count, why=f"{count}: unchanged since the operator started", changed_at=now)


def step(state: AutoscalerState, inputs: ScalingInputs) -> tuple[AutoscalerState, ScalingDecision]:
    """Decide once."""
    memory, fleet, now, window = state, inputs.replicas, inputs.now, inputs.window
    signals, targets, bounds = inputs.signals, inputs.targets, inputs.bounds
    before = memory.count
    seen = demand(signals, targets, fleet.ready) if signals is not None else None
    memory = with_serving(memory, fleet.ready, now, SETTLED_WINDOWS * window)
    memory = with_demand(memory, seen, now) if seen else msgspec.structs.replace(memory, idle_since=None)
    memory = _with_lesson(memory, fleet, now)
    memory = _with_alone(memory, seen, targets, fleet, now, window)
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
    """The count without bounds, and why where it is another one."""
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
        up = min(up, _crowd(memory))
    if up > count:
        return up, f"{seen.cause}, {_replicas(fleet.ready)} serving"
    still = now - max(memory.changed_at, memory.serving_since or now) >= timedelta(seconds=inputs.window)
    if seen.complete and still and fleet.ready >= count:
        return _down(memory, seen.load, fleet.ready, now)
    return count, ""


def _idle(
    memory: AutoscalerState, seen: Demand, bounds: ReplicaBounds, now: datetime, seconds: float
) -> tuple[int, str]:
    """No requests need no more than one replica, and after a while none."""
    if not seen.complete:
        return memory.count, ""
    since = memory.idle_since or now
    if bounds.minimum == 0 and now - since >= timedelta(seconds=seconds):
        return 0, f"no requests for {seconds:.0f} s"
    return 1, "no requests"


def _down(memory: AutoscalerState, latest: float, serving: int, now: datetime) -> tuple[int, str]:
    """As few as the load, the last lesson and the requests in flight allow; never less than half."""
    load = max(latest, memory.load or 0.0)
    least = max(math.ceil(serving / 2), _learned(memory, now), 1)
    by_load = max(math.ceil(_clean(serving * load / DOWN_TO)), least)
    by_crowd = max(_crowd(memory), least)
    if by_crowd < min(by_load, memory.count):
        return by_crowd, f"more replicas than requests in flight ({_crowd(memory)}) have no effect"
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


def _crowd(memory: AutoscalerState) -> int:
    """Replicas that have at least one request in flight each."""
    return max(1, math.ceil(memory.crowd - CROWD_SLACK))


def _learned(memory: AutoscalerState, now: datetime) -> int:
    """The fewest replicas that the last lesson trusts with the present rate."""
    lesson = memory.lesson
    if lesson is None or lesson.rate <= 0 or now - lesson.at > timedelta(seconds=LESSON_SECONDS):
        return 0
    return math.ceil(_clean(memory.rate * lesson.replicas / (LESSON_MARGIN * lesson.rate)))


def _with_lesson(memory: AutoscalerState, fleet: ReplicaCounts, now: datetime) -> AutoscalerState:
    """A lesson goes on until the replicas that mend it have served for long enough to be measured."""
    lesson = memory.lesson
    if lesson is None or not lesson.learning:
        return memory
    mended = min(fleet.ready, memory.proven) >= memory.count
    learned = msgspec.structs.replace(lesson, rate=max(lesson.rate, memory.rate), at=now, learning=not mended)
    return msgspec.structs.replace(memory, lesson=learned)


def _with_miss(memory: AutoscalerState, before: int, now: datetime) -> AutoscalerState:
    """The memory after the count changed: asking for more because of a miss begins a lesson, or goes on with it."""
    if memory.count < before or (memory.load or 0.0) <= 1.0 or not memory.proven:
        return memory
    if memory.lesson and memory.lesson.learning and memory.lesson.replicas == memory.proven:
        return memory
    return msgspec.structs.replace(memory, lesson=MissedTarget(memory.proven, memory.rate, now))


def _with_alone(
    memory: AutoscalerState,
    seen: Demand | None,
    targets: Sequence[Target],
    fleet: ReplicaCounts,
    now: datetime,
    window: float,
) -> AutoscalerState:
    """Whether requests miss the target that hardly meet another one."""
    if seen is None or (seen.load is None and not seen.idle):
        return memory
    missed = min(seen.load or 0.0, memory.load or 0.0) > 1.0
    lone = seen.complete and 0 < memory.crowd <= ALONE * fleet.ready and fleet.ready >= memory.count
    if not (missed and lone):
        if memory.alone_since is None and not memory.unreachable:
            return memory
        return msgspec.structs.replace(memory, alone_since=None, unreachable="")
    since = memory.alone_since or now
    said = memory.unreachable
    if not said and now - since >= timedelta(seconds=window):
        said = f"{seen.cause}, with at most about one request in flight per replica: more replicas do not help"
    return msgspec.structs.replace(memory, alone_since=since, unreachable=said)


def _replicas(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'}"


def _clean(number: float) -> float:
    """Without what floating point adds to a whole number."""
    return round(number, 9)
