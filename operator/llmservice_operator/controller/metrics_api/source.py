"""The interface through which the metrics API reads metric values from the rest of the operator."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Protocol

from llmservice_operator.controller.metrics_api.selectors import Selector


@dataclasses.dataclass(frozen=True)
class Sample:
    """One value of one series."""

    metric: str
    labels: Mapping[str, str]
    milli: int
    """The value in thousandths: 187500 is 187.5."""
    at: datetime.datetime
    """When it was measured, with a time zone."""
    window_seconds: int | None
    """Length of the window that it covers in seconds; None for an instantaneous value."""


class Unavailable(Exception):
    """The value is not known now. The message says why; the HPA shows it and keeps its replica count."""


class MetricSource(Protocol):
    """The metric values. All methods return immediately, from memory."""

    def names(self) -> Sequence[str]:
        """The names of the metrics, for discovery."""
        ...

    def samples(self, namespace: str, metric: str, selector: Selector) -> Sequence[Sample]:
        """The series of one namespace that match ``selector``.

        Raises KeyError if the metric does not exist, Unavailable if its value is not known.
        """
        ...
