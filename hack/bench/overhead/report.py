"""The figures of the rounds, compared with those of the bare servers. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from overhead.pairs import difference, paired, ratio, summary

Rounds = Sequence[Mapping[str, Mapping[str, float]]]
Starts = Sequence[Rounds]
"""The rounds after each start of the servers."""

BARE, BARE_AGAIN = "bare", "bare_again"
COMPARED = {
    "tokens_per_s": ("throughput_ratio", ratio),
    "p99_ttft_ms": ("p99_ttft_delta_ms", difference),
    "p50_ttft_ms": ("p50_ttft_delta_ms", difference),
    "us_per_chunk": ("per_chunk_us", difference),
    "us_per_request": ("per_request_us", difference),
    "cpu_us_per_token": ("cpu_us_per_token_delta", difference),
}
"""The name of a figure compared with the bare server's, and how it is compared."""
TARGETS = {
    "throughput_ratio": (">=", 0.98),
    "p99_ttft_delta_ms": ("<=", 2.0),
    "per_chunk_us": ("<=", 1.0),
    "rss_delta_mib": ("<=", 40 * 1e6 / 2**20),
}


def against_bare(taken: Starts, name: str) -> dict[str, Any]:
    """One server against the mean of both bare ones, the second bare one against the first; medians of the rounds."""
    others = [BARE] if name == BARE_AGAIN else [BARE, BARE_AGAIN]
    compared_figures = {}
    for figure in (each for each in COMPARED if each in taken[0][0][BARE]):
        new_name, compare = COMPARED[figure]
        compared = [paired(column(rounds, figure), name, others, compare) for rounds in taken]
        compared_figures[new_name] = summary([values for values in compared if values])
    return compared_figures


def medians(taken: Starts, name: str) -> dict[str, float]:
    """The figures of one server by itself."""
    mine = [each[name] for rounds in taken for each in rounds if name in each]
    return {figure: round(statistics.median(each[figure] for each in mine), 3) for figure in mine[0]}


def column(taken: Rounds, figure: str) -> list[dict[str, float]]:
    """One figure of all servers in each round."""
    return [{name: figures[figure] for name, figures in each.items()} for each in taken]


def kept(figures: Mapping[str, float], targets: Mapping[str, tuple[str, float]] = TARGETS) -> dict[str, bool]:
    """Which targets are met."""
    return {
        name: figures[name] >= bound if sign == ">=" else figures[name] <= bound
        for name, (sign, bound) in targets.items()
    }
