"""Answers of Prometheus' query API: either all rows are good, or the answer as a whole isn't used.

An answer that owns up to be incomplete (warnings, isPartial) would read as less load than there is, so it is an error.
Histograms of a thousand services are a hundred thousand rows: they are taken straight from the decoded JSON, and the
garbage collector, which would go over them again and again while they come into being, rests meanwhile.
"""

import contextlib
import gc
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pydantic_core

from llmservice_operator.scaling.histogram import Histogram
from llmservice_operator.scaling.queries import SERVICE
from llmservice_operator.scaling.signals import ServiceName

_CLIP = 200


class Row(NamedTuple):
    """One series of an instant vector."""

    labels: Mapping[str, str]
    value: float
    """May be NaN or infinite."""


class AnswerError(Exception):
    """The body can't be used; the text says why. ``kind`` is Prometheus' errorType; empty where it gave none."""

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


def rows(body: bytes) -> tuple[Row, ...]:
    """The rows of a successful answer to an instant query. Raises AnswerError."""
    with _whole():
        return tuple(Row(dict(found["metric"]), float(found["value"][1])) for found in _result(body))


def histograms(body: bytes, namespace_label: str) -> Mapping[ServiceName, Histogram]:
    """An answer with the buckets of one histogram for each service. Raises AnswerError."""
    found: dict[ServiceName, Histogram] = {}
    bounds: dict[str, float] = {}
    with _whole(), _without_collection():
        for row in _result(body):
            labels = row["metric"]
            service = labels.get(namespace_label, ""), labels.get(SERVICE, "")
            histogram = found.get(service)
            if histogram is None:
                histogram = found[service] = Histogram()
            text = labels.get("le", "")
            bound = bounds.get(text)
            if bound is None:
                bound = bounds[text] = _bound(text)
            histogram.bounds.append(bound)
            histogram.counts.append(float(row["value"][1]))
    return found


def clip(text: object) -> str:
    """One printable line of at most 200 characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in str(text or "")[: 4 * _CLIP]).split())
    return words if len(words) <= _CLIP else f"{words[: _CLIP - 1]}…"


def _result(body: bytes) -> list[Any]:
    try:
        answer: Any = pydantic_core.from_json(body, cache_strings="all")
    except ValueError:
        raise AnswerError("the answer is not JSON") from None
    if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
        raise AnswerError("the answer is JSON, but not Prometheus's")
    if answer["status"] == "error":
        raise AnswerError(clip(answer.get("error")) or "no reason given", str(answer.get("errorType") or ""))
    warnings = answer.get("warnings")
    if warnings or answer.get("isPartial"):
        first = warnings[0] if isinstance(warnings, list) else warnings
        raise AnswerError(f"the answer is incomplete: {clip(first) or 'isPartial'}")
    if answer["data"]["resultType"] != "vector":
        raise AnswerError("the answer is no vector")
    result: list[Any] = answer["data"]["result"]
    return result


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise AnswerError("the answer is JSON, but not Prometheus's") from None


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
