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
    "held_streams_not_answered_once": ("<=", 0),
    "first_comment_max_ms": ("<=", 1000.0),
    "nginx_mib_more_while_held": ("<=", 64.0),
    "not_refused": ("<=", 0),
    "p99_ttft_ratio_beside_the_attack": ("<=", 1.1),
    "vllm_ttft_p99_of_service_by_gateway": (">=", 1.0),
    "vllm_failed": ("<=", 0),
    "auc_with_one_prefix_cache": (">=", 0.95),
    "auc_from_half_with_one_for_each_key": ("<=", 0.15),
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
    "held_streams_not_answered_once": "streams to a service at zero that were lost or doubled",
    "first_comment_max_ms": "their longest time to the first comment (ms)",
    "nginx_mib_more_while_held": "memory of NGINX for them (MiB)",
    "not_refused": "kinds of hostile requests that were not refused",
    "p99_ttft_ratio_beside_the_attack": "p99 TTFT beside them by that without",
    "vllm_ttft_p99_of_service_by_gateway": "real vLLM: p99 TTFT of the Service by the gateway's",
    "vllm_failed": "and requests through the gateway that failed",
    "auc_with_one_prefix_cache": "timing attack, one prefix cache: AUC",
    "auc_from_half_with_one_for_each_key": "one for each key: distance of AUC from 0.5",
}


def headline(sections: Mapping[str, Any]) -> dict[str, float]:
    """The figures that have targets, of what was measured."""
    found: dict[str, float] = {}
    for name, figures in (
        ("shared_prefixes", _shared),
        ("without_prefixes", _fresh),
        ("direct", _direct),
        ("held", _held),
        ("attacked", _attacked),
        ("vllm", _vllm),
        ("salt", _salt),
    ):
        if name in sections:
            found |= figures(sections[name])
    failed = [
        section["routers"]["gateway"]["failed"]
        for name in ("shared_prefixes", "without_prefixes")
        if "gateway" in (section := sections.get(name, {})).get("routers", {})
    ]
    return found | ({"failed": sum(failed)} if failed else {})


def _shared(section: Mapping[str, Any]) -> dict[str, float]:
    routers = section["routers"]
    return {
        name: _ratio(routers[router], routers["gateway"], "p99_ttft_ms")
        for name, router in (
            ("ttft_p99_of_service_by_gateway", "service_kept"),
            ("ttft_p99_of_service_with_new_connections_by_gateway", "service_new"),
        )
        if {router, "gateway"} <= routers.keys()
    }


def _fresh(section: Mapping[str, Any]) -> dict[str, float]:
    routers = section["routers"]
    if not {"gateway", "least_conn"} <= routers.keys():
        return {}
    mine, theirs = routers["gateway"], routers["least_conn"]
    return {
        "ttft_p99_by_least_conn_without_prefixes": _ratio(mine, theirs, "p99_ttft_ms"),
        "ttft_p50_by_least_conn_without_prefixes": _ratio(mine, theirs, "p50_ttft_ms"),
        "throughput_by_least_conn_without_prefixes": _ratio(mine, theirs, "output_tokens_per_s"),
    }


def _direct(section: Mapping[str, Any]) -> dict[str, float]:
    return {name: section["gateway"][name] for name in ("p99_ttft_added_ms", "throughput_ratio")}


def _held(section: Mapping[str, Any]) -> dict[str, float]:
    once = min(section[name] for name in ("waiting", "answered_once", "sent_to_a_replica_once"))
    return {
        "held_streams_not_answered_once": section["streams"] - once,
        "first_comment_max_ms": section["first_comment_max_ms"],
        "nginx_mib_more_while_held": section["nginx_mib_more_while_held"],
    }


def _attacked(section: Mapping[str, Any]) -> dict[str, float]:
    return {
        "not_refused": section["not_refused"],
        "p99_ttft_ratio_beside_the_attack": section["p99_ratio"],
    }


def _vllm(section: Mapping[str, Any]) -> dict[str, float]:
    routers = section["routers"]
    return {
        "vllm_ttft_p99_of_service_by_gateway": _ratio(routers["service_kept"], routers["gateway"], "p99_ttft_ms"),
        "vllm_failed": routers["gateway"]["failed"],
    }


def _salt(section: Mapping[str, Any]) -> dict[str, float]:
    return {
        "auc_with_one_prefix_cache": section["shared"]["auc"],
        "auc_from_half_with_one_for_each_key": round(abs(section["per_key"]["auc"] - 0.5), 4),
    }


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
