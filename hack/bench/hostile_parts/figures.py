"""Results of hostile cases, and the figures computed from them. A case that did not run misses its targets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WANTED: Mapping[str, float] = {
    "operator_longest_stall_ms": 250,
    "other_services_affected": 0,
    "limit_overrun_percent": 2,
    "health_p99_ms": 100,
    "rss_growth_mib": 64,
    "other_clients_failed": 0,
}
"""The most that each figure may be."""
WINDOW_SECONDS = 60.0
"""Rate limits count the tokens of any so many seconds."""
NOT_RUN = "not run"


@dataclasses.dataclass(frozen=True)
class Case:
    """One hostile configuration, metric or request, and what came of it."""

    part: str
    """configs, metrics or requests."""
    name: str
    family: str
    verdict: str
    """What the operator or the server said of it."""
    ms: float
    """From its delivery until that was said."""
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """By the names of WANTED; a figure that this part does not measure is absent."""
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else was seen."""

    @property
    def missed(self) -> tuple[str, ...]:
        """The figures of this case alone that are more than wanted."""
        return tuple(name for name, value in self.figures.items() if not value <= WANTED[name])


def not_run(part: str, name: str, family: str, figures: Iterable[str], why: str) -> Case:
    """A case that could not be tried: each of its figures is missed."""
    return Case(part, name, family, f"{NOT_RUN}: {why}", 0.0, dict.fromkeys(figures, math.inf))


def worst(cases: Sequence[Case], whole: Mapping[str, float]) -> dict[str, float | None]:
    """Each figure: the worst of all cases, or of ``whole`` if only a whole run has it. None for a figure
    that no part measured."""
    found: dict[str, float | None] = dict.fromkeys(WANTED)
    for name in WANTED:
        values = [case.figures[name] for case in cases if name in case.figures]
        values += [whole[name]] if name in whole else []
        if values:
            found[name] = round(max(values), 1) if math.isfinite(max(values)) else math.inf
    return found


def missed(found: Mapping[str, float | None]) -> dict[str, float]:
    """The figures that were measured and are more than wanted."""
    return {name: value for name, value in found.items() if value is not None and not value <= WANTED[name]}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed; infinite without values."""
    if not values:
        return math.inf
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def most_in_window(events: Iterable[tuple[float, int]], seconds: float = WINDOW_SECONDS) -> int:
    """The most that events (time, amount) amount to within any ``seconds``."""
    ordered = sorted(events)
    most = total = first = 0
    for at, amount in ordered:
        total += amount
        while at - ordered[first][0] >= seconds:
            total -= ordered[first][1]
            first += 1
        most = max(most, total)
    return most


def overrun_percent(used: float, limit: float) -> float:
    """By how much ``used`` is more than ``limit``; 0 if it is not."""
    return max(0.0, 100 * (used / limit - 1))


def plain(case: Case) -> dict[str, Any]:
    """As JSON has it; what is infinite is null, as no JSON number is."""
    row = dataclasses.asdict(case)
    row["figures"] = {name: value if math.isfinite(value) else None for name, value in case.figures.items()}
    row["ms"] = round(case.ms, 1)
    return row | {"missed": list(case.missed)}
