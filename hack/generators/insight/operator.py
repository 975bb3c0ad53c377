"""The dashboard Operator and Autoscaler: reconciliation, requests to the API server, decisions, services and costs."""

from __future__ import annotations

from insight.panel import (
    NAMESPACES_OF_SERVICES,
    OPERATOR_NAMESPACE,
    SERVICES_OF_OPERATOR,
    Dashboard,
    Panel,
    Query,
    Row,
)
from insight.queries import INTERVAL, OPERATOR, SERVICES

OWN = f"{OPERATOR}, {SERVICES}"
OF = "llmservice_namespace, llmservice"
LEGEND = "{{llmservice_namespace}}/{{llmservice}}"


def counted(name: str, *labels: str) -> str:
    """Rate of a counter of the operator by labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"sum{by} (rate(llmservice_operator_{name}{{{OPERATOR}}}[{INTERVAL}]))"


NONE = f"sum(llmservice_operator_leader{{{OPERATOR}}}) * 0"
"""0 if there is an operator, for what has no series before it occurs."""


def rates(title: str, unit: str, description: str, name: str, *labels: str, stacked: bool = False) -> Panel:
    """How often something occurs, by labels of the operator's counter."""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return Panel(title, unit, description, [Query(counted(name, *labels), legend)], stacked=stacked)


def quantiles(name: str, *labels: str) -> list[Query]:
    """P50 and P99 of a histogram of the operator."""
    by = ", ".join(("le", *labels))
    legend = "".join(f"{{{{{label}}}}} " for label in labels)
    return [
        Query(
            f"histogram_quantile({share}, sum by ({by}) (rate(llmservice_operator_{name}_bucket{{{OPERATOR}}}[{INTERVAL}])))",
            f"{legend}p{100 * share:g}",
        )
        for share in (0.5, 0.99)
    ]


def series(name: str, *matchers: str) -> str:
    """Series of services, each once."""
    labels = ", ".join((OWN, *matchers))
    return f"max by ({OF}) ({name}{{{labels}}})"


DASHBOARD = Dashboard(
    "operator",
    "Operator and Autoscaler",
    "The operator's reconciliations and requests, the autoscaler's decisions, and the state and cost of services.",
    [OPERATOR_NAMESPACE, NAMESPACES_OF_SERVICES, SERVICES_OF_OPERATOR],
    [
        Row(
            "Services",
            [
                Panel(
                    "Leader",
                    "short",
                    "Operators that are the leader: 1, or for seconds 0.",
                    [Query(f"sum(llmservice_operator_leader{{{OPERATOR}}})", "leaders")],
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "Services by status",
                    "short",
                    "Services by status and reason of their condition Ready. docs/operations.md explains each reason.",
                    [
                        Query(
                            f"sum by (ready, reason) (llmservice_operator_services{{{OPERATOR}}})",
                            "Ready {{ready}}: {{reason}}",
                        )
                    ],
                    kind="stat",
                    width=8,
                ),
                Panel(
                    "Conditions that are not as they should be",
                    "short",
                    "Services with a condition that is False, or that are stalled; 0 if there are none.",
                    [
                        Query(
                            f'max by ({OF}, type, reason) (llmservice_condition{{{OWN}, status="False"}} or llmservice_condition{{{OWN}, type="Stalled"}})'
                            f" or {NONE}",
                            f"{LEGEND} {{{{type}}}} {{{{reason}}}}",
                        )
                    ],
                    kind="stat",
                    width=12,
                ),
            ],
        ),
        Row(
            "Autoscaler",
            [
                Panel(
                    "Replicas",
                    "short",
                    "Desired and ready replicas of each service.",
                    [
                        Query(series("llmservice_replicas", 'state="desired"'), f"{LEGEND} desired"),
                        Query(series("llmservice_replicas", 'state="ready"'), f"{LEGEND} ready"),
                    ],
                ),
                Panel(
                    "Load",
                    "percent",
                    "Load of all replicas in percent of what one replica serves within its targets: 200 needs two.",
                    [Query(series("llmservice_load_percent"), LEGEND)],
                ),
                Panel(
                    "Time to first token and target",
                    "s",
                    "Percentiles of the time to first token that have a target, as the autoscaler measured them, and these targets.",
                    [
                        Query(
                            f"max by ({OF}, percentile) (llmservice_time_to_first_token_seconds{{{OWN}}})"
                            f' and on ({OF}, percentile) llmservice_latency_target_seconds{{{OWN}, latency="timeToFirstToken"}}',
                            f"{LEGEND} {{{{percentile}}}}",
                        ),
                        Query(
                            f'max by ({OF}, percentile) (llmservice_latency_target_seconds{{{OWN}, latency="timeToFirstToken"}})',
                            f"{LEGEND} target {{{{percentile}}}}",
                        ),
                    ],
                ),
                rates(
                    "Decisions",
                    "cps",
                    "Decisions on replica counts: up, down, hold, or unavailable (no valid metrics, the count stays).",
                    "scaling_decisions_total",
                    "decision",
                    stacked=True,
                ),
                Panel(
                    "Duration of a decision",
                    "s",
                    "One decision for all services, including reading Prometheus.",
                    quantiles("scaling_seconds"),
                ),
                rates(
                    "Reads of Prometheus",
                    "cps",
                    "By result: ok, or why metrics are unavailable.",
                    "prometheus_reads_total",
                    "result",
                ),
                Panel(
                    "Duration of a read",
                    "s",
                    "All queries of one read of Prometheus, with parsing.",
                    quantiles("prometheus_seconds"),
                    width=6,
                ),
                Panel(
                    "Requests of autoscalers",
                    "reqps",
                    "Requests to external.metrics.k8s.io by HTTP status (chart value scaling.adapter: own).",
                    [Query(counted("metrics_api_requests_total", "code"), "{{code}}")],
                    width=6,
                ),
                Panel(
                    "Cost per hour",
                    "short",
                    "Cost per hour of the GPUs that each service has, in its currency (chart value cost).",
                    [
                        Query(
                            f"max by ({OF}, currency) (llmservice_cost_per_hour{{{OWN}}})", f"{LEGEND} {{{{currency}}}}"
                        )
                    ],
                    width=6,
                    stacked=True,
                ),
                Panel(
                    "Cost of a million tokens",
                    "short",
                    "Cost of a million generated tokens at the last measured throughput.",
                    [
                        Query(
                            f"max by ({OF}, currency) (llmservice_cost_per_million_tokens{{{OWN}}})",
                            f"{LEGEND} {{{{currency}}}}",
                        )
                    ],
                    width=6,
                ),
            ],
        ),
        Row(
            "Reconciliation",
            [
                rates(
                    "Reconciliations",
                    "cps",
                    "By result: ok or the class of the error.",
                    "reconciles_total",
                    "result",
                    stacked=True,
                ),
                Panel(
                    "Duration of a reconciliation",
                    "s",
                    "One reconciliation of a service, with its writes.",
                    quantiles("reconcile_seconds"),
                ),
                Panel(
                    "Queue",
                    "short",
                    "Services that wait for a worker. Above 0 for long: too few workers (chart value workers) or a slow API server.",
                    [Query(f"sum(llmservice_operator_queue_depth{{{OPERATOR}}})", "waiting")],
                ),
                Panel(
                    "CPU of a plan",
                    "s",
                    "CPU time to plan one service once; the budget is 0.1 s.",
                    quantiles("plan_cpu_seconds"),
                ),
                rates(
                    "Memory estimates",
                    "cps",
                    "By result: ok, or none in time.",
                    "estimates_total",
                    "result",
                ),
                Panel(
                    "Over the budget",
                    "cps",
                    "Plans that exceeded their CPU budget, by service; such a service is not planned for ten minutes.",
                    [
                        Query(
                            f"{counted('plans_over_budget_total')} or {NONE}",
                            "plans",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "API server",
            [
                rates(
                    "Requests",
                    "reqps",
                    "Requests to the API server by method and status, without watches and Lease renewals.",
                    "api_requests_total",
                    "method",
                    "code",
                    stacked=True,
                ),
                Panel(
                    "Duration of a request",
                    "s",
                    "Duration of one of these requests, by method.",
                    quantiles("api_seconds", "method"),
                ),
                rates(
                    "Writes",
                    "cps",
                    "Write requests by kind and verb. 0 while nothing changes.",
                    "api_writes_total",
                    "verb",
                    "kind",
                    stacked=True,
                ),
                Panel(
                    "Failed requests",
                    "cps",
                    "By class of the error.",
                    [
                        Query(
                            f"{counted('api_errors_total', 'error')} or {NONE}",
                            "{{error}}",
                        )
                    ],
                ),
                rates(
                    "Watch events",
                    "cps",
                    "Events of watches and listed objects by kind.",
                    "watch_events_total",
                    "kind",
                    stacked=True,
                ),
                Panel(
                    "Lost events",
                    "cps",
                    "Objects that the resync found changed without an event. Above 0: the API server loses events.",
                    [Query(f"{counted('swept_total')} or {NONE}", "lost")],
                ),
            ],
        ),
    ],
)
