"""The demand on a service at one moment: its latencies as a fraction of their targets, and its requests.

Latencies rise very fast once requests queue, so the ratio is clamped: a greater one would say no more than "too much".
Without requests the load is 0, never unknown. If there are requests and none has finished yet, it is unknown. Every
number of the result is finite and bounded, whatever the signals are; NaN and infinity are errors.
"""

import math
from collections.abc import Sequence

import msgspec

from llmservice_operator.autoscaling.latency import Latency, Target
from llmservice_operator.autoscaling.signals import MOST, Signals

CLAMP = 2.0
"""Maximum load: one step never asks for more than twice the replicas."""
QUEUED = 0.25
"""Part of the requests' time that they spend in the queue, above which several were in flight at once: an engine queues
a request only if it computes as many as it can."""


class Demand(msgspec.Struct, frozen=True, gc=False):
    """The inputs of a decision that follow from the signals."""

    load: float | None
    """The worst latency as a fraction of its target, from 0 to CLAMP; None if no request was measured."""
    cause: str
    """For messages: that latency and its target."""
    idle: bool
    """Whether there was no request in the window and there is none now."""
    in_flight: float
    """Running and waiting requests: those of the last scrapes or the mean over the window, whichever is more; if
    requests queue, as many as CLAMP times the replicas can take."""
    finished_per_second: float
    complete: bool
    """Whether replicas serve and all of them were measured: a missing one could be the busiest."""


def demand(signals: Signals, targets: Sequence[Target], serving: int) -> Demand:
    """The demand on a service with ``serving`` ready replicas. Raises ValueError for NaN or infinity."""
    sampled = _bounded("running", signals.running) + _bounded("waiting", signals.waiting)
    finished = _bounded("finished_per_second", signals.finished_per_second)
    idle = not sampled and not finished and not any(signals.latencies.values())
    load, cause = (0.0, "no requests") if idle else _worst(signals, targets)
    return Demand(
        load=load,
        cause=cause,
        idle=idle,
        in_flight=max(sampled, _in_flight_on_average(signals, serving)),
        finished_per_second=finished,
        complete=0 < serving <= signals.pods,
    )


def _in_flight_on_average(signals: Signals, serving: int) -> float:
    """Requests in flight by what the engines count, for bursts that are over before the next scrape."""
    mean = _bounded("mean_in_flight", signals.mean_in_flight)
    waiting = _bounded("mean_waiting", signals.mean_waiting)
    return max(mean, CLAMP * serving) if waiting > QUEUED * mean else mean


def _bounded(name: str, value: float) -> float:
    """``value`` limited to 0 to MOST. Raises ValueError if it is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, which is not a finite number")
    return min(max(0.0, value), MOST)


def _worst(signals: Signals, targets: Sequence[Target]) -> tuple[float | None, str]:
    if signals.waiting > 0 and not signals.latencies.get(Latency.TIME_TO_FIRST_TOKEN):
        return CLAMP, "requests are waiting and none gets its first token"
    found = [
        (measured / target.seconds, target, measured)
        for target in targets
        if (measured := signals.latencies.get(target.latency, {}).get(target.percentile)) is not None
    ]
    if not found:
        return None, ""
    if not all(math.isfinite(ratio) for ratio, _, _ in found):
        raise ValueError("a latency is not a finite number")
    ratio, target, measured = max(found, key=lambda each: each[0])
    return min(max(0.0, ratio), CLAMP), f"{target.name} {seconds(measured)}, target {seconds(target.seconds)}"


def seconds(time: float) -> str:
    """``412 ms``, ``12.5 ms``, ``1.2 s``, ``75 s``."""
    value, unit = (time, "s") if time >= 0.9995 else (time * 1000, "ms")
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"
