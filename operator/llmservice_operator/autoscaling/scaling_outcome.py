"""The scaling of one service at one moment: the last decision, and why it can't be carried out."""

import datetime

import msgspec

from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable


class ScalingOutcome(msgspec.Struct, frozen=True, gc=False):
    """For the status: it does not change while the decision is the same."""

    count: int
    """Desired replicas."""
    why: str
    """Why the count has its value; empty if it has not changed since the operator started."""
    limited: str = ""
    """``maximum`` or ``minimum`` if that bound limits the count; otherwise empty."""
    unreachable: str = ""
    """Why more replicas would not meet the targets; empty if they would."""
    measured: tuple[int, int] | None = None
    """Replicas with series and ready replicas, if some have had none for a while: the count is then not lowered."""
    gap: MetricsUnavailable | None = None
    """Why metrics are unavailable, or do not reach the autoscaler."""
    offered_since: datetime.datetime | None = None
    """Since when metrics are available to the autoscaler."""
