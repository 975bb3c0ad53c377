"""Percentiles of measured times, and whether a target holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from random import Random
from threading import Lock

from llmservice_operator.autoscaling.latency import PERCENTILES, Latency, Target
from llmservice_operator.cli.bench.targets import least_requests
from llmservice_operator.cli.inference.generation import Generation

TIMEOUT = "timeout"
"""Kind of error of a request without a complete answer in time."""


class Verdict(StrEnum):
    """Whether a target holds at a rate."""

    HOLDS = "Holds"
    EXCEEDED = "Exceeded"
    UNKNOWN = "Unknown"
    """Too few requests for this percentile."""


@dataclass(frozen=True, slots=True)
class TargetResult:
    """One target at one rate."""

    target: Target
    seconds: float | None
    """The measured percentile; None if it is unbounded because of failed requests, or nothing was measured."""
    verdict: Verdict


@dataclass
class Sample:
    """All requests at one rate. A request that failed, or was not sent, is slower than every target."""

    rate: float
    seconds: float = 0.0
    """From the first arrival to the last answer."""
    answers: list[Generation] = field(default_factory=list)
    """Complete answers."""
    errors: dict[str, int] = field(default_factory=dict)
    """Requests that failed, by kind."""
    details: dict[str, str] = field(default_factory=dict)
    """The last message of each kind."""
    not_sent: int = 0
    """Requests beyond the limit of requests in flight."""
    replicas: tuple[int, int] = (0, 0)
    """Ready replicas before and after."""
    is_client_limited: bool = False
    """Whether this machine was too slow for the load, so that times may be too long."""
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)
    _is_over: bool = False

    def add(self, answer: Generation) -> None:
        """A complete answer. Ignored once the sample is over."""
        with self._lock:
            if not self._is_over:
                self.answers.append(answer)

    def fail(self, kind: str, detail: str = "", count: int = 1) -> None:
        """Requests that failed. Ignored once the sample is over."""
        with self._lock:
            if not self._is_over:
                self.errors[kind] = self.errors.get(kind, 0) + count
                self.details[kind] = detail

    def end(self, seconds: float, unanswered: int) -> None:
        """The sample is over; so many requests are still in flight, and have failed."""
        if unanswered:
            self.fail(TIMEOUT, f"no complete answer after {seconds:.0f} s", unanswered)
        with self._lock:
            self._is_over = True
            self.seconds = seconds

    @property
    def failed(self) -> int:
        """Requests that were sent and have no complete answer."""
        return sum(self.errors.values())

    @property
    def requests(self) -> int:
        """All requests that arrived."""
        return len(self.answers) + self.failed + self.not_sent

    def times(self, latency: Latency) -> list[float]:
        """Seconds in ascending order; infinite for a request without an answer."""
        missing = [math.inf] * (self.failed + self.not_sent)
        match latency:
            case Latency.TIME_TO_FIRST_TOKEN:
                found = [each.first_token_seconds or 0.0 for each in self.answers] + missing
            case Latency.REQUEST_LATENCY:
                found = [each.seconds for each in self.answers] + missing
            case Latency.INTER_TOKEN_LATENCY:
                found = [after - before for each in self.answers for before, after in pairwise(each.chunks)]
        return sorted(found)

    def percentiles(self, latency: Latency) -> dict[int, float | None] | None:
        """Each percentile of a latency in seconds, None for an infinite one; None if nothing was measured."""
        ordered = self.times(latency)
        if not ordered:
            return None
        found = {each: percentile(ordered, each) for each in PERCENTILES}
        return {each: value if math.isfinite(value) else None for each, value in found.items()}

    def result(self, target: Target) -> TargetResult:
        """Whether the target holds."""
        ordered = self.times(target.latency)
        value = percentile(ordered, target.percentile) if ordered else math.inf
        missing = (self.failed + self.not_sent) / self.requests if self.requests else 0.0
        if self.requests < least_requests(target):
            verdict = Verdict.UNKNOWN
        elif value > target.seconds or missing > 1 - target.percentile / 100:
            verdict = Verdict.EXCEEDED
        else:
            verdict = Verdict.HOLDS
        return TargetResult(target, value if math.isfinite(value) else None, verdict)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Between the two nearest ranks, linearly, as numpy does and so `vllm bench serve`."""
    at = (len(ordered) - 1) * percent / 100
    below, above, share = ordered[math.floor(at)], ordered[math.ceil(at)], at - math.floor(at)
    if not share:
        return below
    return below + (above - below) * share if math.isfinite(above) else above


def arrivals(rate: float, seconds: float, rng: Random) -> Iterator[float]:
    """Seconds from the beginning at which a Poisson process of that rate has an arrival."""
    at = rng.expovariate(rate)
    while at < seconds:
        yield at
        at += rng.expovariate(rate)


def highest_rate(samples: Sequence[Sample], targets: Sequence[Target]) -> float | None:
    """The highest rate at which all targets hold, below the lowest one that exceeds a target; None if there is none."""
    limit = lowest_exceeded(samples, targets)
    holding = [
        sample.rate
        for sample in samples
        if targets and all(sample.result(each).verdict is Verdict.HOLDS for each in targets)
    ]
    return max((rate for rate in holding if limit is None or rate < limit), default=None)


def lowest_exceeded(samples: Sequence[Sample], targets: Sequence[Target]) -> float | None:
    """The lowest rate that exceeds a target; None if there is none."""
    exceeded = [
        sample.rate for sample in samples if any(sample.result(each).verdict is Verdict.EXCEEDED for each in targets)
    ]
    return min(exceeded, default=None)
