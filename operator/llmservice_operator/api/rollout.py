"""How replicas are replaced when the spec changes, and what happens if the new replicas fail."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmservice_operator.api.base import APIType, Rule


class RolloutStrategy(StrEnum):
    """Whether a surge pod runs while replicas are replaced."""

    AUTO = "Auto"
    IN_PLACE = "InPlace"
    SURGE = "Surge"


class OnFailure(StrEnum):
    """What happens if replicas of a changed spec do not become ready."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


CANARY_HEADER = r"[a-z]([-a-z0-9]{0,62}[a-z0-9])?"
"""The pattern of a header's name that chooses the canary."""
ADDED_ERROR_PERCENT = 5
"""Default of `maxAddedErrorPercent`."""
LATENCY_PERCENT = 200
"""Default of `maxLatencyPercent`."""
MOST_LATENCY_PERCENT = 10_000
_OWN_HEADERS = ("authorization", "connection", "content-length", "content-type", "host", "x-api-key")


class OnFewRequests(StrEnum):
    """What happens if a canary got too few requests for a result."""

    CONTINUE = "Continue"
    WAIT = "Wait"


class Canary(APIType):
    """A pause after the first replica of a changed spec, in which the NGINX gateway sends it some of the requests. The
    operator compares that replica with the others; the rollout then continues or fails."""

    weight: Annotated[int, Field(ge=0, le=50)] = 5
    """Percent of the requests that the new replica gets; a sixth of it until it has answered some well. 0: only those
    with `header`."""
    header: Annotated[str, Field(pattern=f"^{CANARY_HEADER}$", max_length=64)] | None = None
    """Name of a header, in lower case. Requests with the value `always` go to the new replica, those with `never` to
    the others. Unless `weight` is 0, requests with `always` do not count in the comparison. Absent: no header
    chooses."""
    duration_seconds: Annotated[int, Field(ge=10, le=86_400)] = 300
    """Minimum duration of the pause in seconds, from the moment at which the new replica is ready."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Number of requests that the new replica must have answered before the rollout continues."""
    deadline_seconds: Annotated[int, Field(ge=10, le=604_800)] = 3600
    """After this time, in seconds, `onFewRequests` decides if there were fewer requests."""
    on_few_requests: OnFewRequests = OnFewRequests.CONTINUE
    """`Continue`: the rollout continues if the requests that there were show no failure; `Wait`: it waits for more."""
    max_added_error_percent: Annotated[int, Field(ge=0, le=100)] = ADDED_ERROR_PERCENT
    """Percentage points by which the new replica's ratio of failed requests may exceed that of the others. Failed are
    requests with the status 500 or above or without an answer, and streams that break off."""
    max_latency_percent: Annotated[int, Field(ge=100, le=MOST_LATENCY_PERCENT)] = LATENCY_PERCENT
    """Maximum time to the first byte of an answer, in percent of that of the others."""

    rules = (
        Rule(
            "!has(self.weight) || self.weight > 0 || has(self.header)",
            "rollout.canary.weight 0 sends no requests to the canary: set header, or a weight of 1 or more",
            ".weight",
        ),
        Rule(
            "(has(self.durationSeconds) ? self.durationSeconds : 300) <= "
            "(has(self.deadlineSeconds) ? self.deadlineSeconds : 3600)",
            "rollout.canary.deadlineSeconds must not be below durationSeconds",
            ".deadlineSeconds",
        ),
        Rule(
            f"!has(self.header) || !(self.header in {list(_OWN_HEADERS)})",
            "rollout.canary.header must not be a header that requests need for something else",
            ".header",
        ),
    )


class Rollout(APIType):
    """How replicas are replaced when the spec changes: one at a time, each only after the previous one is ready."""

    strategy: RolloutStrategy = RolloutStrategy.AUTO
    """`InPlace` stops a replica, then starts the new one on the same devices; `Surge` first starts an extra replica,
    which needs devices of its own during the rollout; `Auto` chooses Surge if a node has free devices."""

    max_unavailable: Annotated[int, Field(ge=0, le=1000)] = 1
    """Maximum number of replicas that may be unavailable during the rollout. 0: none, which requires a surge."""

    on_failure: OnFailure = OnFailure.ROLLBACK
    """`Rollback` returns to the last spec with which all replicas were ready, and does not retry until the spec
    changes; `Pause` stops the rollout and changes nothing."""

    paused: Annotated[bool, Field(strict=True)] = False
    """If true, no replica is replaced; added replicas use the same revision as the others."""

    canary: Canary | None = None
    """A pause after the first new replica, in which it gets some of the requests. It requires the NGINX gateway.
    Absent: none."""

    rules = (
        Rule(
            "!has(self.strategy) || self.strategy != 'InPlace' || !has(self.maxUnavailable) || self.maxUnavailable > 0",
            "rollout.strategy InPlace stops a replica before it starts the new one: set maxUnavailable to 1 or more, "
            "or choose Surge",
            ".maxUnavailable",
        ),
    )
