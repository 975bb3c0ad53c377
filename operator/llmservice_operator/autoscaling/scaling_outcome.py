"""What is known of one service's scaling at one moment: the last decision, and what keeps it from being acted on."""

import datetime

import msgspec

from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable


class ScalingOutcome(msgspec.Struct, frozen=True, gc=False):
    """For the status: nothing in it changes while the decision stays the same."""

    count: int
    """Replicas that the algorithm wants."""
    why: str
    """In words: what led to the count; empty where nothing has changed it since the operator started."""
    limited: str = ""
    """``maximum`` or ``minimum`` where a bound keeps it from going further; else empty."""
    unreachable: str = ""
    """Why more replicas would not bring the latencies to their targets; empty where they would."""
    gap: MetricsUnavailable | None = None
    """Why the load is not known, or does not reach the autoscaler."""
    offered_since: datetime.datetime | None = None
    """Since when the load is known and offered to the autoscaler, without a gap."""
