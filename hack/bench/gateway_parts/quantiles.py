"""Quantiles of measured times, and how certain a comparison of two is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy
from numpy.typing import NDArray

Times = Sequence[float]
RESAMPLES = 2000
CONFIDENCE = 0.95


def milliseconds(seconds: Iterable[float], part: float) -> float:
    """The quantile at `part` (0 to 1) in milliseconds; infinite if nothing was measured."""
    ordered = sorted(seconds)
    return round(ordered[int(part * (len(ordered) - 1))] * 1000, 3) if ordered else float("inf")


def compared(
    one: Sequence[Times], other: Sequence[Times], part: float, by: Callable[[float, float], float]
) -> tuple[float, float, float]:
    """`by` of the quantiles of both, with the ends of its 95 % interval by bootstrap.

    Both have a list of times for each block of time in which both were measured. Blocks are resampled together, so what
    the machine did at that time happens to both.
    """
    if len(one) != len(other) or not one:
        raise ValueError(f"{len(one)} and {len(other)} blocks; both need the same number, at least 1")
    mine, theirs = [numpy.asarray(each) for each in one], [numpy.asarray(each) for each in other]
    chance = numpy.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        blocks = chance.integers(0, len(mine), len(mine))
        drawn.append(by(_quantile(mine, blocks, part), _quantile(theirs, blocks, part)))
    everything = numpy.arange(len(mine))
    low, high = numpy.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return by(_quantile(mine, everything, part), _quantile(theirs, everything, part)), float(low), float(high)


def _quantile(blocks: Sequence[NDArray[numpy.float64]], chosen: NDArray[numpy.int64], part: float) -> float:
    return float(numpy.quantile(numpy.concatenate([blocks[each] for each in chosen]), part))
