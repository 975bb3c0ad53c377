"""Where the metrics API takes its numbers from: what the rest of the operator has to offer to it."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Protocol

from llmservice_operator.controller.metrics_api.selectors import Selector


@dataclasses.dataclass(frozen=True)
class Sample:
    """One number of one series."""

    metric: str
    labels: Mapping[str, str]
    milli: int
    """The value in thousandths: 187500 is 187.5."""
    at: datetime.datetime
    """When it was measured, with its time zone."""
    window_seconds: int | None
    """What it was taken over; None: it is of one moment."""


class Unavailable(Exception):
    """The number is not known now. The message says why, for people: the HPA shows it and keeps its count."""


class MetricSource(Protocol):
    """The numbers. All methods answer at once, from memory."""

    def names(self) -> Sequence[str]:
        """The metrics that there are, for discovery."""
        ...

    def samples(self, namespace: str, metric: str, selector: Selector) -> Sequence[Sample]:
        """The series of one namespace that ``selector`` selects.

        Raises KeyError where there is no such metric, Unavailable where its value is not known.
        """
        ...
