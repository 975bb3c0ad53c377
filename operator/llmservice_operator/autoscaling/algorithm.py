"""What every autoscaling algorithm is: a step from a state and what was measured to the next state and a count.

An algorithm is pure and keeps nothing: the caller holds its state, one for each service, and looks into none. An error
that it raises is that service's: it starts again from the count that it had.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from llmservice_operator.autoscaling.latency import Target
from llmservice_operator.autoscaling.signals import Signals

State = TypeVar("State")


class ReplicaBounds(msgspec.Struct, frozen=True, gc=False):
    """The user's minReplicas and maxReplicas."""

    minimum: int
    maximum: int


class ReplicaCounts(msgspec.Struct, frozen=True, gc=False):
    """The replicas of a service at one moment."""

    desired: int
    """spec.replicas"""
    existing: int
    """Pods that exist."""
    ready: int
    """Pods that are ready."""


class ScalingInputs(msgspec.Struct, frozen=True, gc=False):
    """What an algorithm decides by."""

    signals: Signals | None
    """Of the last ``window`` seconds; None while they are unknown."""
    targets: Sequence[Target]
    bounds: ReplicaBounds
    replicas: ReplicaCounts
    now: datetime
    window: float = 60.0
    """Seconds over which percentiles are taken."""
    idle: float = 300.0
    """For how many seconds there have to be no requests before a service with minReplicas 0 scales to zero."""


class ScalingDecision(msgspec.Struct, frozen=True, gc=False):
    """What an algorithm decides in one step."""

    count: int
    """Desired replicas, within the bounds."""
    load: float | None
    """The smoothed load of a replica as a fraction of its target; None while it is unknown. It is shown as the metric
    of the HorizontalPodAutoscaler as far as ``count`` allows."""
    why: str
    """In words, what led to the count: the same text until the count changes."""
    changed: bool
    """The count differs from that of the step before."""
    limited: str = ""
    """``maximum`` or ``minimum``: the bound without which it would go further."""
    unreachable: str = ""
    """Why more replicas would not bring the latencies to their targets; empty where they would."""


class AutoscalingAlgorithm(Protocol[State]):
    """One algorithm; a module with these two functions is one."""

    def initial_state(self, count: int, now: datetime) -> State:
        """The state before the first step of a service that has so many replicas."""
        ...

    def step(self, state: State, inputs: ScalingInputs) -> tuple[State, ScalingDecision]:
        """Decide once. Raises ValueError or OverflowError for signals that make no sense."""
        ...
