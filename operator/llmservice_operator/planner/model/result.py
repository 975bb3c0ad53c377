"""The result of one part of a plan."""

import dataclasses
import datetime
from collections.abc import Iterable

from llmservice_operator.planner.model.observed import NOTHING, Input
from llmservice_operator.planner.report.condition import Verdict


@dataclasses.dataclass(frozen=True)
class Result:
    """The verdict of a condition, and when it may change."""

    verdict: Verdict | None = None
    """None if the service does not have the condition now."""
    requires: frozenset[Input] = NOTHING
    """Inputs that were not read and may change the verdict."""
    recheck_at: datetime.datetime | None = None
    """When the verdict may change because time passes; None if it can't."""


NO_RESULT = Result()


def earliest(*times: datetime.datetime | None) -> datetime.datetime | None:
    """The first of these times; None if there is none."""
    return min((time for time in times if time is not None), default=None)


def required(results: Iterable[Result]) -> frozenset[Input]:
    """The inputs that these results require."""
    return frozenset().union(*(result.requires for result in results))
