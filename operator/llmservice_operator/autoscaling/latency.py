"""The latencies that can have targets, and the targets."""

import dataclasses
from enum import StrEnum

PERCENTILES = (50, 90, 95, 99)
"""The percentiles that are measured and may have a target."""


class Latency(StrEnum):
    """Latencies, by the name of their field in ``spec.scaling.targets``."""

    TIME_TO_FIRST_TOKEN = "timeToFirstToken"
    INTER_TOKEN_LATENCY = "interTokenLatency"
    REQUEST_LATENCY = "requestLatency"


@dataclasses.dataclass(frozen=True)
class Target:
    """The maximum of one percentile of one latency."""

    latency: Latency
    percentile: int
    """One of PERCENTILES."""
    seconds: float

    @property
    def name(self) -> str:
        """For messages: ``p99 timeToFirstToken``."""
        return f"p{self.percentile} {self.latency.value}"
