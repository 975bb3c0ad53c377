"""Runs in turns, and what their differences say. Pure.

A shared machine drifts by more than what is measured, so servers are compared only within a round: each round asks all
of them, one after the other, and begins with another one than the round before.
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
    rounds: Sequence[Mapping[str, float]], one: str, other: str, compare: Callable[[float, float], float]
) -> list[float]:
    """`compare` of both servers in each round that has both."""
    return [compare(each[one], each[other]) for each in rounds if one in each and other in each]


def ratio(one: float, other: float) -> float:
    return one / other


def difference(one: float, other: float) -> float:
    return one - other


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The bootstrap interval of their median; the same values give the same interval."""
    if not values:
        raise ValueError("an interval needs values")
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return medians[cut], medians[-1 - cut]


def summary(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """The median, its interval, and how many values there are."""
    low, high = interval(values)
    return {
        "median": round(statistics.median(values), digits),
        "interval_95": [round(low, digits), round(high, digits)],
        "pairs": len(values),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    ordered = sorted(values)
    at = max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))
    return ordered[at]
