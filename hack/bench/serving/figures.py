"""Numbers from answers: percentiles, rates, errors by kind. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from llmservice_operator.cli.bench.figures import percentile
from serving.answer import CUT, Answer

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}
TIMES = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "itl_ms": "inter-token latency", "request_ms": "request latency"}
"""Key of each time in the JSON, and its name for people."""


def distribution(seconds: Iterable[float]) -> dict[str, float] | None:
    """Mean and percentiles in milliseconds; none of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return None
    found = {"mean": math.fsum(ordered) / len(ordered)}
    found |= {name: percentile(ordered, percent) for name, percent in PERCENTILES.items()}
    return {name: round(value * 1000, 3) for name, value in found.items()}


def times(answers: Iterable[Answer]) -> dict[str, list[float]]:
    """The seconds of each kind of time, of the answers that came whole."""
    whole = [each for each in answers if each.succeeded]
    return {
        "ttft_ms": [each.first_token for each in whole],
        "tpot_ms": [value for each in whole if (value := each.per_token) is not None],
        "itl_ms": [gap for each in whole for gap in each.gaps],
        "request_ms": [each.latency for each in whole],
    }


def ended_in(answers: Iterable[Answer], began: float, ended: float) -> list[Answer]:
    """Those that ended in that time, or were cut at its end; an error counts where the request began in it."""
    return [each for each in answers if began <= (each.began if each.failed else each.ended) <= ended]


def figures(answers: Sequence[Answer], began: float, ended: float) -> dict[str, Any]:
    """All figures of the time from `began` to `ended`; the keys are those of the JSON."""
    seconds = ended - began
    inside = ended_in(answers, began, ended)
    whole = [each for each in inside if each.succeeded]
    tokens = sum(each.tokens_between(began, ended) for each in answers if not each.failed)
    return {
        "seconds": round(seconds, 3),
        "succeeded": len(whole),
        "failed": sum(each.failed for each in inside),
        "cut": sum(each.error == CUT for each in inside),
        "errors": dict(Counter(each.error for each in inside if each.failed)),
        "requests_per_second": round(len(whole) / seconds, 4) if seconds > 0 else 0.0,
        "output_tokens_per_second": round(tokens / seconds, 3) if seconds > 0 else 0.0,
        "mean_prompt_tokens": mean([each.prompt_tokens for each in whole]),
        "mean_output_tokens": mean([each.output_tokens for each in whole]),
    } | {name: distribution(values) for name, values in times(inside).items()}


def mean(numbers: Sequence[float]) -> float | None:
    """None of nothing."""
    return round(math.fsum(numbers) / len(numbers), 2) if numbers else None
