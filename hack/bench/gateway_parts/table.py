"""The figures that have targets, and a table of them for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overhead import report

TARGETS = {
    "ttft_p99_of_service_by_gateway": (">=", 3.0),
    "ttft_p99_of_service_with_new_connections_by_gateway": (">=", 3.0),
    "ttft_p99_by_least_conn_without_prefixes": ("<=", 1.0),
    "ttft_p50_by_least_conn_without_prefixes": ("<=", 1.0),
    "throughput_by_least_conn_without_prefixes": (">=", 0.99),
    "failed": ("<=", 0),
    "p99_ttft_added_ms": ("<=", 1.0),
    "throughput_ratio": (">=", 0.95),
    "vllm_ttft_p99_of_service_by_gateway": (">=", 1.0),
    "vllm_failed": ("<=", 0),
}
WORDS = {
    "ttft_p99_of_service_by_gateway": "shared prefixes: p99 TTFT of the Service by the gateway's",
    "ttft_p99_of_service_with_new_connections_by_gateway": "the same, a connection for each request",
    "ttft_p99_by_least_conn_without_prefixes": "without prefixes: p99 TTFT by that of least_conn",
    "ttft_p50_by_least_conn_without_prefixes": "and p50",
    "throughput_by_least_conn_without_prefixes": "and output tokens/s",
    "failed": "requests through the gateway that failed",
    "p99_ttft_added_ms": "p99 TTFT more than that of the replica alone (ms)",
    "throughput_ratio": "output tokens/s by those of the replica alone",
    "vllm_ttft_p99_of_service_by_gateway": "real vLLM: p99 TTFT of the Service by the gateway's",
    "vllm_failed": "and requests through the gateway that failed",
}


def headline(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures that have targets, of what was measured."""
    found: dict[str, float] = {}
    spread = result.get("spread", {})
    if shared := spread.get("shared_prefixes"):
        routers = shared["routers"]
        for name, router in (
            ("ttft_p99_of_service_by_gateway", "service_kept"),
            ("ttft_p99_of_service_with_new_connections_by_gateway", "service_new"),
        ):
            if {router, "gateway"} <= routers.keys():
                found[name] = _ratio(routers[router], routers["gateway"], "p99_ttft_ms")
    if fresh := spread.get("without_prefixes"):
        routers = fresh["routers"]
        if {"gateway", "least_conn"} <= routers.keys():
            mine, theirs = routers["gateway"], routers["least_conn"]
            found["ttft_p99_by_least_conn_without_prefixes"] = _ratio(mine, theirs, "p99_ttft_ms")
            found["ttft_p50_by_least_conn_without_prefixes"] = _ratio(mine, theirs, "p50_ttft_ms")
            found["throughput_by_least_conn_without_prefixes"] = _ratio(mine, theirs, "output_tokens_per_s")
    failed = [
        each["routers"]["gateway"]["failed"]
        for each in spread.values()
        if isinstance(each, dict) and "gateway" in each.get("routers", {})
    ]
    if failed:
        found["failed"] = sum(failed)
    if direct := result.get("direct"):
        found["p99_ttft_added_ms"] = direct["gateway"]["p99_ttft_added_ms"]
        found["throughput_ratio"] = direct["gateway"]["throughput_ratio"]
    if vllm := result.get("vllm"):
        routers = vllm["routers"]
        found["vllm_ttft_p99_of_service_by_gateway"] = _ratio(
            routers["service_kept"], routers["gateway"], "p99_ttft_ms"
        )
        found["vllm_failed"] = routers["gateway"]["failed"]
    return found


def _ratio(one: Mapping[str, float], other: Mapping[str, float], figure: str) -> float:
    return round(one[figure] / other[figure], 4)


def kept(figures: Mapping[str, float]) -> dict[str, bool]:
    """Which targets are met."""
    return report.kept(figures, {name: TARGETS[name] for name in figures})


def table(figures: Mapping[str, float]) -> str:
    """A row for each figure."""
    met = kept(figures)
    rows = [
        f"{WORDS[name]:<60} {value:>9g}   {TARGETS[name][0]} {TARGETS[name][1]:<5g} {'met' if met[name] else 'MISSED'}"
        for name, value in figures.items()
    ]
    return "\n".join(rows)
