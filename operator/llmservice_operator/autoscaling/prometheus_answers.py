"""Parses responses of Prometheus' query API. Either all rows are valid, or the whole response is rejected.

A response that says that it is incomplete (warnings, isPartial) would look like less load, so it is an error. Notes of
Prometheus about the query (``PromQL info: …``, ``PromQL warning: …``), which versions since 2.47 send as warnings of
complete responses too, are ignored. Values that such a query omits are detected row by row.

A row whose sample is a native histogram is ignored. The histograms of a thousand services have a hundred thousand rows,
so they are decoded directly into the needed form.
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from llmservice_operator.autoscaling.histogram import Histogram
from llmservice_operator.autoscaling.prometheus_queries import SERVICE
from llmservice_operator.autoscaling.signals import ServiceName

_CLIP = 200
_ON_THE_QUERY = ("PromQL info", "PromQL warning")
"""Prefixes of Prometheus' notes about a query."""
_NOT_PROMETHEUS = "the response is JSON, but not in the format of the Prometheus API"


class Row(NamedTuple):
    """One series of an instant vector."""

    labels: Mapping[str, str]
    value: float
    """May be NaN or infinite."""


class AnswerError(Exception):
    """The body can't be used; the text says why. ``kind`` is Prometheus' errorType, or empty."""

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


R = TypeVar("R")


class _Data(msgspec.Struct, Generic[R], rename="camel", gc=False):
    result_type: str
    result: list[R]


class _Answer(msgspec.Struct, Generic[R], rename="camel", gc=False):
    status: str
    data: _Data[R]
    warnings: list[str] | None = None
    is_partial: bool | None = None


class _Sample(msgspec.Struct, array_like=True, gc=False):
    at: float
    value: str


class _Series(msgspec.Struct, gc=False):
    metric: dict[str, str]
    value: _Sample | None = None
    histogram: list[Any] | None = None


def rows(body: bytes) -> tuple[Row, ...]:
    """The rows of a successful response to an instant query. Raises AnswerError."""
    with _whole():
        numbers = _numbers(_result(body, _decoder()))
        return tuple(Row(row.metric, float(row.value.value)) for row in numbers)


def histograms(body: bytes, namespace_label: str) -> Mapping[ServiceName, Histogram]:
    """The buckets of one histogram for each service. Raises AnswerError."""
    found: dict[ServiceName, Histogram] = {}
    bounds: dict[str, float] = {}
    with _whole():
        for row in _buckets(body, namespace_label):
            labels = row.metric
            service = labels.namespace, labels.service
            histogram = found.get(service)
            if histogram is None:
                histogram = found[service] = Histogram()
            bound = bounds.get(labels.le)
            if bound is None:
                bound = bounds[labels.le] = _bound(labels.le)
            histogram.bounds.append(bound)
            histogram.counts.append(row.value.value)
    return found


def clip(text: object) -> str:
    """One printable line of at most 200 characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in str(text or "")[: 4 * _CLIP]).split())
    return words if len(words) <= _CLIP else f"{words[: _CLIP - 1]}…"


def _numbers(found: list[Any]) -> list[Any]:
    """The rows without native histograms. Raises AnswerError for a row without a sample."""
    if all(row.value is not None for row in found):
        return found
    if any(row.value is None and row.histogram is None for row in found):
        raise AnswerError(_NOT_PROMETHEUS)
    return [row for row in found if row.value is not None]


@functools.cache
def _decoder() -> msgspec.json.Decoder[_Answer[_Series]]:
    return msgspec.json.Decoder(_Answer[_Series])


def _buckets(body: bytes, namespace_label: str) -> list[Any]:
    """Its rows, with numbers for values. The decoder converts them, except for ``+Inf``, which it does not accept."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        return _numbers(_usable(body, _bucket_decoder(namespace_label, float).decode(body)))
    found = _numbers(_result(body, _bucket_decoder(namespace_label, str)))
    for row in found:
        row.value.value = float(row.value.value)
    return found


@functools.lru_cache(maxsize=4)
def _bucket_decoder(namespace_label: str, value: type) -> msgspec.json.Decoder[_Answer[Any]]:
    fields = [("namespace", str, ""), ("service", str, ""), ("le", str, "")]
    names = {"namespace": namespace_label, "service": SERVICE}
    labels = msgspec.defstruct("Labels", fields, rename=names, gc=False)
    sample = msgspec.defstruct("Sample", [("at", float), ("value", value)], array_like=True, gc=False)
    optional = [("value", sample | None, None), ("histogram", list[Any] | None, None)]
    bucket = msgspec.defstruct("Bucket", [("metric", labels), *optional], gc=False)
    return msgspec.json.Decoder(_Answer[bucket], strict=False)  # type: ignore[valid-type]


def _result(body: bytes, decoder: msgspec.json.Decoder[_Answer[R]]) -> list[R]:
    try:
        answer = decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise _fault(body) from None
    return _usable(body, answer)


def _usable(body: bytes, answer: _Answer[R]) -> list[R]:
    incomplete = answer.is_partial or _on_completeness(answer.warnings or ())
    if answer.status != "success" or incomplete or answer.data.result_type != "vector":
        raise _fault(body)
    return answer.data.result


def _on_completeness(warnings: Sequence[str]) -> Sequence[str]:
    return [warning for warning in warnings if not warning.startswith(_ON_THE_QUERY)]


def _fault(body: bytes) -> AnswerError:
    """What is wrong with an answer that does not have the expected form. May raise AnswerError, too."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return AnswerError("the response is not JSON")
    with _whole():
        if answer["status"] == "error":
            return AnswerError(clip(answer.get("error")) or "no reason given", str(answer.get("errorType") or ""))
        warnings = answer.get("warnings")
        if isinstance(warnings, list):
            warnings = _on_completeness([str(each) for each in warnings])
        if warnings or answer.get("isPartial"):
            first = warnings[0] if isinstance(warnings, list) and warnings else warnings
            return AnswerError(f"the response is incomplete: {clip(first) or 'isPartial'}")
        if answer["status"] == "success" and answer["data"]["resultType"] != "vector":
            return AnswerError("the response is not a vector")
    return AnswerError(_NOT_PROMETHEUS)


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
        raise AnswerError(_NOT_PROMETHEUS) from None
