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

    rules = (
        Rule(
            "!has(self.strategy) || self.strategy != 'InPlace' || !has(self.maxUnavailable) || self.maxUnavailable > 0",
            "rollout.strategy InPlace stops a replica before it starts the new one: set maxUnavailable to 1 or more, "
            "or choose Surge",
            ".maxUnavailable",
        ),
    )
