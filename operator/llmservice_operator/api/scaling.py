"""Autoscaling: bounds of the replica count, latency targets, and how fast the count may change."""

from decimal import Decimal
from enum import StrEnum
from itertools import combinations
from typing import Annotated

from pydantic import Field

from llmservice_operator.api.base import RULES_KEY, APIType, Rule
from llmservice_operator.autoscaling.algorithms import Algorithm
from llmservice_operator.autoscaling.latency import PERCENTILES, Latency, Target

Duration = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,6}(\.[0-9]{1,3})?(ms|s)$",
        max_length=12,
        json_schema_extra={
            RULES_KEY: [
                dict(
                    Rule(
                        "duration(self) >= duration('1ms') && duration(self) <= duration('600s')",
                        "a latency must be from 1ms to 600s, such as 200ms or 1.5s",
                    ).as_schema()
                )
            ]
        },
    ),
]
"""A time such as ``200ms`` or ``1.5s``, from 1ms to 600s."""


def seconds(duration: str) -> float:
    """``duration`` in seconds."""
    if duration.endswith("ms"):
        return float(Decimal(duration.removesuffix("ms")) / 1000)
    return float(Decimal(duration.removesuffix("s")))


_RISING = " && ".join(
    f"(!has(self.p{low}) || !has(self.p{high}) || duration(self.p{low}) <= duration(self.p{high}))"
    for low, high in combinations(PERCENTILES, 2)
)


class Percentiles(APIType):
    """Upper bounds for percentiles of one latency."""

    p50: Duration | None = None
    """Upper bound for 50 of 100 requests, such as `100ms`. Absent: no target."""
    p90: Duration | None = None
    """Upper bound for 90 of 100 requests. Absent: no target."""
    p95: Duration | None = None
    """Upper bound for 95 of 100 requests. Absent: no target."""
    p99: Duration | None = None
    """Upper bound for 99 of 100 requests. Absent: no target."""

    rules = (
        Rule(
            " || ".join(f"has(self.p{percentile})" for percentile in PERCENTILES),
            "a latency with a target needs at least one of p50, p90, p95, p99",
        ),
        Rule(_RISING, "a higher percentile must not be below a lower one: p50 <= p90 <= p95 <= p99"),
    )


class Targets(APIType):
    """The latency targets of the service; the one that is exceeded the most decides."""

    time_to_first_token: Percentiles | None = None
    """From the arrival of a request to its first token. Absent: no target."""
    inter_token_latency: Percentiles | None = None
    """From one token to the next. Absent: no target."""
    request_latency: Percentiles | None = None
    """From the arrival of a request to its last token. Absent: no target."""

    rules = (
        Rule(
            "has(self.timeToFirstToken) || has(self.interTokenLatency) || has(self.requestLatency)",
            "scaling needs a target: timeToFirstToken, interTokenLatency or requestLatency",
        ),
    )

    def all(self) -> tuple[Target, ...]:
        """All targets in the spec."""
        parts = {
            Latency.TIME_TO_FIRST_TOKEN: self.time_to_first_token,
            Latency.INTER_TOKEN_LATENCY: self.inter_token_latency,
            Latency.REQUEST_LATENCY: self.request_latency,
        }
        return tuple(
            Target(latency, percentile, seconds(text))
            for latency, part in parts.items()
            for percentile in PERCENTILES
            if part is not None and (text := getattr(part, f"p{percentile}")) is not None
        )


class PolicyType(StrEnum):
    """Unit of the value of a policy."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several policies applies."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingPolicy(APIType):
    """How much the count may change within a period."""

    type: PolicyType
    """`Pods` or `Percent` of the replicas."""
    value: Annotated[int, Field(ge=1, le=1_000_000)]
    """Maximum change in one period."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)]
    """Length of the period in seconds."""


class ScalingRules(APIType):
    """How fast the count may change in one direction, as in a HorizontalPodAutoscaler."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Seconds of earlier recommendations that are considered; the one with the smallest change applies. Absent: 0 for
    scaleUp, 300 for scaleDown."""
    select_policy: SelectPolicy | None = None
    """Which of the policies applies: the one that allows the largest change (`Max`) or the smallest (`Min`). `Disabled`
    forbids any change. Absent: Max."""
    policies: Annotated[list[ScalingPolicy], Field(min_length=1, max_length=8)] | None = None
    """Limits of the change. Absent: none."""


class ScalingBehavior(APIType):
    """How fast the count may change."""

    scale_up: ScalingRules = ScalingRules()
    """Towards more replicas."""
    scale_down: ScalingRules = ScalingRules()
    """Towards fewer replicas."""


class Scaling(APIType):
    """Autoscaling: as few replicas as the targets allow, between two bounds."""

    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Minimum number of replicas. 0: the service scales to zero while there are no requests; a request at the NGINX
    gateway, or `kubectl scale --replicas=1`, scales it up again."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Maximum number of replicas."""
    targets: Targets
    """The latency targets of the service."""
    algorithm: Algorithm | None = None
    """How the number of replicas is computed. Absent: `Latency`, from the latencies and their targets."""
    behavior: ScalingBehavior = ScalingBehavior()
    """How fast the count may change."""

    rules = (
        Rule(
            "(has(self.minReplicas) ? self.minReplicas : 1) <= self.maxReplicas",
            "minReplicas must not be above maxReplicas",
            ".minReplicas",
        ),
    )
