"""The figures that have targets, and a table of them for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overhead import report

TARGETS = {
    "batching_ratio": (">=", 3.2),
    "prefix_ttft_ratio": ("<=", 0.25),
    "prefix_hit_tokens": (">=", 1),
    "uncached_ttft_ratio": (">=", 0.8),
    "uncached_hit_tokens": ("<=", 0),
    "ttft_p50_ms": ("<=", 50.0),
    "ttft_p99_ms": ("<=", 200.0),
    "failed": ("<=", 0),
}
WORDS = {
    "batching_ratio": "tokens/s of max_num_seqs 64 by those of 1",
    "prefix_ttft_ratio": "TTFT of the second prompt with a prefix by the first",
    "prefix_hit_tokens": "its tokens out of the cache, the least",
    "uncached_ttft_ratio": "the same without prefix caching: TTFT",
    "uncached_hit_tokens": "and tokens out of the cache, the most",
    "ttft_p50_ms": "TTFT under arrivals, p50 (ms)",
    "ttft_p99_ms": "and p99 (ms)",
    "failed": "requests of them that failed",
}


def headline(parts: Mapping[str, Any]) -> dict[str, float]:
    """The figures that have targets, of the parts that were run."""
    found: dict[str, float] = {}
    if batching := parts.get("batching"):
        found["batching_ratio"] = batching["ratio"]["median"]
    if prefixes := parts.get("prefixes"):
        on, off = prefixes["on"], prefixes["off"]
        found |= {"prefix_ttft_ratio": on["ttft_ratio"], "prefix_hit_tokens": on["hit_tokens"]["second_least"]}
        found |= {"uncached_ttft_ratio": off["ttft_ratio"], "uncached_hit_tokens": off["hit_tokens"]["second_most"]}
    if first := parts.get("first_tokens"):
        # Without an answer there is no time that could keep a target.
        times = first["ttft_ms"] or {"p50": float("inf"), "p99": float("inf")}
        found |= {"ttft_p50_ms": times["p50"], "ttft_p99_ms": times["p99"], "failed": first["failed"]}
    return found


def kept(figures: Mapping[str, float]) -> dict[str, bool]:
    """Which targets are met."""
    return report.kept(figures, {name: TARGETS[name] for name in figures})


def table(figures: Mapping[str, float]) -> str:
    """A row for each figure."""
    met = kept(figures)
    rows = [
        f"{WORDS[name]:<54} {value:>10g}   {TARGETS[name][0]} {TARGETS[name][1]:<6g} {'met' if met[name] else 'MISSED'}"
        for name, value in figures.items()
    ]
    return "\n".join(rows)
