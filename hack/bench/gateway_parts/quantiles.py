"""Quantiles of measured times. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def milliseconds(seconds: Iterable[float], part: float) -> float:
    """The quantile at `part` (0 to 1) in milliseconds; infinite if nothing was measured."""
    ordered = sorted(seconds)
    return round(ordered[int(part * (len(ordered) - 1))] * 1000, 3) if ordered else float("inf")
