"""How a running service changes: in which way its replicas are replaced, and what happens when new ones fail."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmservice_operator.api.base import APIType, Rule


class RolloutStrategy(StrEnum):
    """Whether a replica more runs while others are replaced."""

    AUTO = "Auto"
    IN_PLACE = "InPlace"
    SURGE = "Surge"


class OnFailure(StrEnum):
    """What follows when replicas of a changed spec don't get ready."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


class Rollout(APIType):
    """How replicas are replaced when the spec changes: one at a time, each only once the one before is ready."""

    strategy: RolloutStrategy = RolloutStrategy.AUTO
    """`InPlace` stops a replica, then starts the new one on the devices that it leaves; `Surge` starts one more first,
    which takes the devices of one replica more while it lasts; `Auto` surges where a node has devices to spare."""

    max_unavailable: Annotated[int, Field(ge=0, le=1000)] = 1
    """Replicas that may be missing meanwhile. 0: none, so that only a surge can replace any."""

    on_failure: OnFailure = OnFailure.ROLLBACK
    """`Rollback` goes back to the last spec that all replicas were ready with, and does not try again until the spec
    changes; `Pause` leaves all as it is."""

    paused: Annotated[bool, Field(strict=True)] = False
    """Replaces nothing while true; replicas that are added run what the others run."""

    rules = (
        Rule(
            "!has(self.strategy) || self.strategy != 'InPlace' || !has(self.maxUnavailable) || self.maxUnavailable > 0",
            "rollout.strategy InPlace stops a replica before it starts the new one: set maxUnavailable to 1 or more, "
            "or choose Surge",
            ".maxUnavailable",
        ),
    )
