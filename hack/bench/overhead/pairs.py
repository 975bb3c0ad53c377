"""Statistics of the differences of runs in turns. Pure.

The speed of a shared machine varies by more than what is measured, so servers are compared only within a round: each
round measures all of them in turn, in a rotated order. Two servers started with one command line also differ as long as
they run; figures of few starts have an interval that takes it into account.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

RESAMPLES = 4000
CONFIDENCE = 0.95


def order(names: Sequence[str], number: int) -> list[str]:
    """The servers in the order of this round: each is first equally often, and each second round goes backwards."""
    turn = (number // 2) % len(names)
    turned = [*names[turn:], *names[:turn]]
    return turned[::-1] if number % 2 else turned


def paired(
    rounds: Sequence[Mapping[str, float]], one: str, others: Sequence[str], compare: Callable[[float, float], float]
) -> list[float]:
    """`compare` of one server and the mean of the others, in each round that has it."""
    return [compare(each[one], statistics.fmean(each[other] for other in others)) for each in rounds if one in each]


def ratio(one: float, other: float) -> float:
    return one / other


def difference(one: float, other: float) -> float:
    return one - other


def interval(starts: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float]:
    """The bootstrap interval of the median of all values, drawn by starts and then by the rounds in each.

    The same values give the same interval.
    """
    if not any(starts):
        raise ValueError("an interval needs values")
    draw = random.Random(seed)
    medians = sorted(statistics.median(_again(draw, starts)) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return medians[cut], medians[-1 - cut]


def _again(draw: random.Random, starts: Sequence[Sequence[float]]) -> list[float]:
    return [value for values in draw.choices(starts, k=len(starts)) for value in draw.choices(values, k=len(values))]


def summary(starts: Sequence[Sequence[float]], digits: int = 3) -> dict[str, Any]:
    """The median, its interval, and how many values there are of how many starts of the servers."""
    low, high = interval(starts)
    values = [value for each in starts for value in each]
    return {
        "median": round(statistics.median(values), digits),
        "interval_95": [round(low, digits), round(high, digits)],
        "pairs": len(values),
        "starts": len(starts),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    ordered = sorted(values)
    at = max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))
    return ordered[at]
