"""What one part of a plan results in, whatever it decides."""

import dataclasses
import datetime
from collections.abc import Iterable

from llmservice_operator.planner.model.observed import NOTHING, Input
from llmservice_operator.planner.report.condition import Verdict


@dataclasses.dataclass(frozen=True)
class Result:
    """A condition's verdict, and what would change it."""

    verdict: Verdict | None = None
    """None if the service does not have the condition now."""
    requires: frozenset[Input] = NOTHING
    """What was not read and would change it."""
    recheck_at: datetime.datetime | None = None
    """When time alone may change it; None if it can't."""


NO_RESULT = Result()


def earliest(*times: datetime.datetime | None) -> datetime.datetime | None:
    """The first of these times; None if there is none."""
    return min((time for time in times if time is not None), default=None)


def required(results: Iterable[Result]) -> frozenset[Input]:
    """What any of these requires."""
    return frozenset().union(*(result.requires for result in results))
