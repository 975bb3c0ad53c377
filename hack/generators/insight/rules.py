"""Recording rules: how fast services use up the requests that may miss their targets, over seven windows.

A target p99 allows that 1 of 100 requests misses it: that is its budget. A burn rate of 1 uses up the budget exactly, 14.4
uses up 2 % of the budget of 30 days in an hour (Google's SRE workbook, "Alerting on SLOs"). Only rates over five minutes
are computed from the engines' series. Longer windows add up these recorded rates, so they cost little.
"""

from __future__ import annotations

import dataclasses

from insight.queries import SERVICE, by_service

NAMESPACE = "OPERATOR_NAMESPACE"
"""The chart puts the operator's namespace here: only its own series count."""
BUDGET = "ERROR_BUDGET"
"""The chart puts the share of requests here that may fail: 0.005 for alerts.availabilityPercent 99.5."""

SHORTEST = "5m"
WINDOWS = ("30m", "1h", "2h", "6h", "1d", "3d")
LATENCIES = {
    "timeToFirstToken": "vllm:time_to_first_token_seconds",
    "interTokenLatency": "vllm:inter_token_latency_seconds",
    "requestLatency": "vllm:e2e_request_latency_seconds",
}
OBJECTIVE = "llmservice:latency_objective:ratio"
GOOD, TOTAL = "llmservice:latency_good:rate5m", "llmservice:latency_requests:rate5m"
FAILED, REQUESTS = "llmservice:request_errors:rate5m", "llmservice:requests:rate5m"
PER_TARGET = f"{SERVICE}, latency, percentile"


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording rule."""

    record: str
    expression: str
    labels: tuple[tuple[str, str], ...] = ()


def of_operator(name: str, *matchers: str) -> str:
    """Series of the operator and its gateway: those in its own namespace."""
    inside = ", ".join((f'namespace="{NAMESPACE}"', *matchers))
    return f"{name}{{{inside}}}"


def named(expression: str, by: str) -> str:
    """A series of the operator, with `namespace` for the namespace of the service."""
    return f'max by ({by}) (label_replace({expression}, "namespace", "$1", "llmservice_namespace", "(.+)"))'


def ours(expression: str) -> str:
    """Only of services: other programs export series of the same names."""
    replicas = named(of_operator("llmservice_replicas", 'state="desired"'), SERVICE)
    return f"({expression}) and on ({SERVICE}) {replicas}"


def _latency(latency: str, histogram: str) -> list[Recording]:
    """The requests within each target, and all that were measured."""
    buckets = by_service(f"rate({histogram}_bucket[{SHORTEST}])", "le")
    objective = f'{OBJECTIVE}{{latency="{latency}"}}'
    good = f"sum by ({PER_TARGET}) (({objective} * 0 + 1) * on ({SERVICE}, le) group_left () {buckets})"
    total = by_service(f"rate({histogram}_count[{SHORTEST}])")
    total = f"max by ({PER_TARGET}) (({objective} * 0 + 1) * on ({SERVICE}) group_left () {total})"
    labels = (("latency", latency),)
    return [Recording(GOOD, good, labels), Recording(TOTAL, total, labels)]


def _burn_rates(window: str) -> list[Recording]:
    budget = f"(1 - max by ({PER_TARGET}) ({OBJECTIVE}))"
    if window == SHORTEST:
        missed, failed = f"(1 - {GOOD} / {TOTAL})", f"({FAILED} / {REQUESTS})"
    else:
        missed = f"(1 - sum_over_time({GOOD}[{window}]) / sum_over_time({TOTAL}[{window}]))"
        failed = f"(sum_over_time({FAILED}[{window}]) / sum_over_time({REQUESTS}[{window}]))"
    return [
        Recording(f"llmservice:latency:burnrate{window}", f"{missed} / {budget}"),
        Recording(f"llmservice:errors:burnrate{window}", f"{failed} / {BUDGET}"),
    ]


def _errors() -> list[Recording]:
    responses = 'http_requests_total{handler=~"/v1/.*"}'
    failed = responses.replace("}", ', status="5xx"}')
    total = by_service(f"rate({responses}[{SHORTEST}])")
    return [
        Recording(REQUESTS, ours(total)),
        Recording(FAILED, ours(f"{by_service(f'rate({failed}[{SHORTEST}])')} or {total} * 0")),
    ]


def _budget_left() -> Recording:
    spent = "sum_over_time({0}[30d])"
    share = f"(1 - {spent.format(GOOD)} / {spent.format(TOTAL)}) / (1 - max by ({PER_TARGET}) ({OBJECTIVE}))"
    return Recording("llmservice:latency:budget_left_ratio30d", f"1 - {share}")


def groups() -> dict[str, list[Recording]]:
    """The groups by name; rules of a group are evaluated in their order."""
    objective = of_operator("llmservice_latency_objective_ratio", 'percentile=~"p[0-9]+"')
    first = [Recording(OBJECTIVE, named(objective, f"{PER_TARGET}, le"))]
    for latency, histogram in LATENCIES.items():
        first += _latency(latency, histogram)
    first += _errors()
    return {
        "llmservice.rates": [*first, *_burn_rates(SHORTEST)],
        "llmservice.burn-rates": [rule for window in WINDOWS for rule in _burn_rates(window)],
        "llmservice.budget": [_budget_left()],
    }
