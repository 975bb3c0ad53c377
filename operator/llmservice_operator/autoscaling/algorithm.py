"""The interface of autoscaling algorithms: a step from a state and the measurements to the next state and a count.

An algorithm is pure and stateless: the caller keeps one state per service and does not read it. An error that it raises
affects only that service, which continues from its current count.
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
    """The replica counts of a service at one moment."""

    desired: int
    """spec.replicas"""
    existing: int
    """Pods that exist."""
    ready: int
    """Pods that are ready."""


class ScalingInputs(msgspec.Struct, frozen=True, gc=False):
    """The inputs of one decision."""

    signals: Signals | None
    """Measurements of the last ``window`` seconds; None if they are unknown."""
    targets: Sequence[Target]
    bounds: ReplicaBounds
    replicas: ReplicaCounts
    now: datetime
    window: float = 60.0
    """Window of the percentiles, in seconds."""
    idle: float = 300.0
    """Seconds without requests after which a service with minReplicas 0 scales to zero."""


class ScalingDecision(msgspec.Struct, frozen=True, gc=False):
    """The result of one step."""

    count: int
    """Desired replicas, within the bounds."""
    load: float | None
    """Smoothed load of a replica as a fraction of its target; None if it is unknown. The HPA shows it as the metric, as
    far as ``count`` allows."""
    why: str
    """Why the count has its value; the text does not change until the count does."""
    changed: bool
    """Whether the count differs from that of the previous step."""
    limited: str = ""
    """``maximum`` or ``minimum`` if that bound limits the count; otherwise empty."""
    unreachable: str = ""
    """Why more replicas would not meet the targets; empty if they would."""


class AutoscalingAlgorithm(Protocol[State]):
    """One algorithm: a module with these two functions."""

    def initial_state(self, count: int, now: datetime) -> State:
        """The state before the first step of a service with ``count`` replicas."""
        ...

    def step(self, state: State, inputs: ScalingInputs) -> tuple[State, ScalingDecision]:
        """Decide once. Raises ValueError or OverflowError for invalid signals."""
        ...
