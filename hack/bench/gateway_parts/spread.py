"""Each router gets the same requests in front of the same modelled engines."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway_parts import quantiles, workload
from gateway_parts.client import Seen, send
from gateway_parts.model import Settings
from gateway_parts.routers import ROUTERS, NotInstalled, Router, stub_replicas
from overhead.servers import Fleet

CLIENTS = 4
"""Applications that send requests, each with connections of its own."""
WORKLOADS = {
    "shared_prefixes": (True, 4.0, 1000),
    "without_prefixes": (False, 2.5, 600),
}
"""Whether conversations share prefixes, requests a second for each replica, and how many, the first of the trace."""
REPEATED = {
    "shared_prefixes": ("gateway", "service_kept"),
    "without_prefixes": ("gateway", "least_conn"),
}
"""Routers whose figures have a target; the others get the requests once."""
LEFT_OUT = {"without_prefixes": ("litellm", "service_new")}
"""Routers that are not compared there."""


def measure(
    workload_name: str, fleet: Fleet, directory: Path, options: argparse.Namespace, say: Callable[[str], None]
) -> dict[str, Any]:
    """The figures of each router for one workload."""
    settings = Settings()
    replicas = stub_replicas(fleet, options.replicas, dataclasses.asdict(settings))
    wanted = [each for each in options.routers.split(",") if each not in LEFT_OUT.get(workload_name, ())]
    routers, absent = _start(fleet, directory, wanted, replicas)
    shared, rate, count = WORKLOADS[workload_name]
    rows = workload.read_trace()[: options.requests or count]
    own = rows if shared else workload.without_prefixes(rows)
    per_second = rate * options.replicas
    taken: dict[str, list[dict[str, float]]] = {router: [] for router in routers}
    errors: dict[str, str] = {}
    for number in range(options.rounds):
        requests = workload.requests(own, per_second, CLIENTS, seed=number)
        order = [each for each in routers if number == 0 or each in REPEATED[workload_name]]
        for router in order[:: -1 if number % 2 else 1]:
            seen = _run(routers[router], requests, number)
            figures = _figures(seen, replicas)
            taken[router].append(figures)
            if seen.failed:
                errors[router] = seen.failed[0]
            say(f"{workload_name}, round {number + 1}, {router}: {json.dumps(figures)}")
    return {
        "replicas": options.replicas,
        "engine": dataclasses.asdict(settings),
        "requests": len(rows),
        "mean_prompt_tokens": round(statistics.mean(row.prompt_tokens for row in rows)),
        "mean_output_tokens": round(statistics.mean(row.output_tokens for row in rows)),
        "clients": CLIENTS,
        "absent": absent,
        "requests_per_second_sent": per_second,
        "hit_rate_of_one_unlimited_cache": round(workload.share_in_an_unlimited_cache(own), 4),
        "routers": {router: _together(rounds, errors.get(router)) for router, rounds in taken.items()},
    }


def _start(
    fleet: Fleet, directory: Path, names: Sequence[str], replicas: Sequence[int]
) -> tuple[dict[str, Router], dict[str, str]]:
    routers, absent = {}, {}
    for name in names:
        try:
            routers[name] = ROUTERS[name](fleet, directory, replicas)
        except NotInstalled as missing:
            absent[name] = f"not on this machine: {missing}"
    return routers, absent


def _run(router: Router, requests: Sequence[workload.Request], seed: int) -> Seen:
    return send(requests, router.ports, router.keep, router.key, seed)


def _figures(seen: Seen, replicas: Sequence[int]) -> dict[str, float]:
    """What clients and engines saw; the engines are empty afterwards."""
    counts = []
    for port in replicas:
        counts.append(_get(port, "statistics"))
        _get(port, "clear")
    prompt_tokens = sum(each["prompt_tokens"] for each in counts)
    return {
        "p50_ttft_ms": quantiles.milliseconds(seen.ttft, 0.5),
        "p90_ttft_ms": quantiles.milliseconds(seen.ttft, 0.9),
        "p99_ttft_ms": quantiles.milliseconds(seen.ttft, 0.99),
        "hit_rate": round(sum(each["cached_tokens"] for each in counts) / max(1, prompt_tokens), 4),
        "output_tokens_per_s": round(seen.output_tokens / seen.seconds, 1),
        "requests_per_s": round(len(seen.ttft) / seen.seconds, 3),
        "failed": len(seen.failed),
        "most_by_least_loaded": round(
            max(each["prompt_tokens"] - each["cached_tokens"] for each in counts)
            / max(1, min(each["prompt_tokens"] - each["cached_tokens"] for each in counts)),
            2,
        ),
        "requests_late_p99_ms": quantiles.milliseconds(seen.late, 0.99),
        "steps_late_p99_ms": max(each["late_p99_ms"] for each in counts),
    }


def _get(port: int, path: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        found: dict[str, float] = json.load(answer)
    return found


def _together(rounds: Sequence[dict[str, float]], error: str | None) -> dict[str, Any]:
    """Medians of the rounds, but all failures."""
    found: dict[str, Any] = {
        name: round(statistics.median(each[name] for each in rounds), 4) for name in rounds[0] if name != "failed"
    }
    found["rounds"] = len(rounds)
    found["failed"] = sum(each["failed"] for each in rounds)
    found["p99_ttft_ms_of_rounds"] = [each["p99_ttft_ms"] for each in rounds]
    return found | ({"first_error": error} if error else {})
