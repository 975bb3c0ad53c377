"""The alerts: on the budgets of services (several windows and burn rates), on their state, on operator and gateway."""

from __future__ import annotations

import dataclasses

from insight.queries import SERVICE, by_service
from insight.rules import named, of_operator, ours

OF = "{{ $labels.namespace }}/{{ $labels.llmservice }}"


@dataclasses.dataclass(frozen=True)
class Alert:
    """One alert. `summary` and `description` are templates of Prometheus; a runbook has its name."""

    name: str
    severity: str
    """critical: a person at once; warning: within the working day."""
    expression: str
    lasting: str
    summary: str
    description: str


def burning(name: str, *pairs: tuple[float, str, str]) -> str:
    """The burn rate is above a factor in a long and in a short window; the short one ends the alert soon after."""
    return " or ".join(
        f"({name}:burnrate{long} > {factor:g} and {name}:burnrate{short} > {factor:g})" for factor, long, short in pairs
    )


FAST = ((14.4, "1h", "5m"), (6, "6h", "30m"))
SLOW = ((3, "1d", "2h"), (1, "3d", "6h"))


def condition(*matchers: str) -> str:
    """The service's conditions that match."""
    return named(of_operator("llmservice_condition", *matchers), f"{SERVICE}, type, reason")


def replicas(state: str) -> str:
    """Replicas of a service."""
    return named(of_operator("llmservice_replicas", f'state="{state}"'), SERVICE)


def own(name: str, *matchers: str, over: str = "10m") -> str:
    """Rate of a counter of the operator, over all its series."""
    return f"sum(rate({of_operator(f'llmservice_operator_{name}', *matchers)}[{over}]))"


def at_gateway(*matchers: str) -> str:
    """Requests per second at the gateway, which is in the operator's namespace, by the service they are for."""
    counted = of_operator("llmservice_gateway_requests_total", *matchers)
    return f"sum by (exported_namespace, service) (rate({counted}[5m]))"


FAILED, SERVER_ERROR = 'result!="ok"', 'code=~"5.."'
STARTED = 'process_start_time_seconds{pod=~".+-[0-9]+"}'
"""Of pods with a number, because each subquery reads every process of the cluster otherwise."""
FETCH = "HubUnreachable|HubRefused|StoreUnreachable|StoreRefused|DiskFull|BrokenWeights|NoWeights|DigestMismatch"
BLIND = (
    "NoPrometheus|PrometheusUnreachable|PrometheusTimeout|PrometheusRefused|NoSeries|LabelsMatchNoPod|StaleSeries|"
    "NotANumber|MetricsInvalid|AdapterUnavailable|AutoscalerFails|MetricsAPITaken|NoAdapter"
)
RUNNING, WAITING = by_service("vllm:num_requests_running"), by_service("vllm:num_requests_waiting")

BUDGETS = [
    Alert(
        "LLMServiceLatencyBudgetBurnsFast",
        "critical",
        burning("llmservice:latency", *FAST),
        "2m",
        f"{OF} misses its target {{{{ $labels.percentile }}}} {{{{ $labels.latency }}}}",
        "Requests miss the target {{ $value | humanize }} times as often as it allows.",
    ),
    Alert(
        "LLMServiceLatencyBudgetBurnsSlowly",
        "warning",
        burning("llmservice:latency", *SLOW),
        "15m",
        f"{OF} misses its target {{{{ $labels.percentile }}}} {{{{ $labels.latency }}}} more often than it may",
        "Over days, requests miss the target {{ $value | humanize }} times as often as it allows.",
    ),
    Alert(
        "LLMServiceErrorBudgetBurnsFast",
        "critical",
        burning("llmservice:errors", *FAST),
        "2m",
        f"{OF} answers too many requests with errors",
        "Requests fail with a status of 500 or above {{ $value | humanize }} times as often as alerts.availabilityPercent allows.",
    ),
    Alert(
        "LLMServiceErrorBudgetBurnsSlowly",
        "warning",
        burning("llmservice:errors", *SLOW),
        "15m",
        f"{OF} answers more requests with errors than it may",
        "Over days, requests fail {{ $value | humanize }} times as often as alerts.availabilityPercent allows.",
    ),
]

SERVICES = [
    Alert(
        "LLMServiceNoReadyReplica",
        "critical",
        f"{replicas('ready')} == 0 and {replicas('desired')} > 0",
        "10m",
        f"{OF} has no ready replica",
        "The service should run, and none of its replicas is ready: its condition Ready has the cause.",
    ),
    Alert(
        "LLMServiceStalled",
        "warning",
        condition('type="Stalled"', 'status="True"'),
        "10m",
        f"{OF} needs a person: {{{{ $labels.reason }}}}",
        "The service is not as its spec says, and this seldom passes by itself.",
    ),
    Alert(
        "LLMServiceRolloutFailed",
        "warning",
        condition('type="RolledOut"', 'status="False"', 'reason=~"RolledBack|RolloutFailed|CanaryFailed"'),
        "1m",
        f"The change of {OF} has failed: {{{{ $labels.reason }}}}",
        "Replicas run the previous revision or keep failing. The failed spec is not tried again until it changes.",
    ),
    Alert(
        "LLMServiceModelFetchFails",
        "warning",
        condition('status="False"', 'type!="Ready"', f'reason=~"{FETCH}"'),
        "10m",
        f"{OF} can't get its model: {{{{ $labels.reason }}}}",
        "Replicas can't download or read the model.",
    ),
    Alert(
        "LLMServiceEngineRestarts",
        "warning",
        ours(
            f"max by ({SERVICE}) (changes({by_service(STARTED, 'pod', how='max')}[1h:1m])"
            f" and on (namespace, pod) llm_active_requests) > 2"
        ),
        "0m",
        f"A replica of {OF} has restarted {{{{ $value }}}} times within an hour",
        "The engine's container ends and starts again and again.",
    ),
    Alert(
        "LLMServiceEngineHangs",
        "critical",
        ours(f"{by_service('llm_engine_stalled_seconds', 'pod', how='max')} > 40"),
        "1m",
        "The engine in {{ $labels.namespace }}/{{ $labels.pod }} computes nothing",
        "Requests or a probe have waited for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "LLMServiceQueueTooLong",
        "warning",
        ours(f"{WAITING} > {RUNNING} and {WAITING} > 10"),
        "10m",
        f"More requests of {OF} wait than run",
        "{{ $value }} requests wait in the queues of the service.",
    ),
    Alert(
        "LLMServiceKVCacheFull",
        "warning",
        ours(
            f"{by_service('vllm:kv_cache_usage_perc', how='max')} > 0.95"
            f" and {by_service('rate(vllm:num_preemptions_total[10m])')} > 0"
        ),
        "15m",
        f"The KV cache of {OF} is full",
        "{{ $value | humanizePercentage }} of the cache is in use, and running sequences are preempted.",
    ),
    Alert(
        "LLMServiceScalingBlind",
        "warning",
        condition('type="ScalingActive"', 'status="False"', f'reason=~"{BLIND}"'),
        "15m",
        f"{OF} is not scaled: {{{{ $labels.reason }}}}",
        "The autoscaler gets no valid metrics of the service, so its number of replicas stays as it is.",
    ),
    Alert(
        "LLMServiceTargetUnreachable",
        "warning",
        condition('type="ScalingActive"', 'reason="TargetUnreachable"'),
        "30m",
        f"{OF} can't meet its target with more replicas",
        "A replica with one request at a time misses the target already.",
    ),
]

PLATFORM = [
    Alert(
        "LLMServiceOperatorNoLeader",
        "critical",
        f"(sum({of_operator('llmservice_operator_leader')}) or vector(0)) < 1",
        "5m",
        "No LLMService operator is the leader",
        "No service is reconciled or scaled. Running replicas go on serving.",
    ),
    Alert(
        "LLMServiceOperatorErrors",
        "warning",
        f"{own('reconciles_total', FAILED)} / {own('reconciles_total')} > 0.1",
        "15m",
        "Reconciliations of the LLMService operator fail",
        "{{ $value | humanizePercentage }} of the reconciliations end with an error.",
    ),
    Alert(
        "LLMServiceOperatorQueueLong",
        "warning",
        f"min_over_time({of_operator('llmservice_operator_queue_depth')}[10m]) > 10",
        "5m",
        "Services wait for the LLMService operator",
        "At least {{ $value }} services have waited for a worker for ten minutes.",
    ),
    Alert(
        "LLMServicePrometheusReadsFail",
        "warning",
        f"{own('prometheus_reads_total', FAILED)} / {own('prometheus_reads_total')} > 0.5",
        "10m",
        "The LLMService operator can't read Prometheus",
        "{{ $value | humanizePercentage }} of its reads fail. No service is scaled down until then.",
    ),
    Alert(
        "LLMServiceGatewayErrors",
        "critical",
        f"{at_gateway(SERVER_ERROR)} / {at_gateway()} > 0.05",
        "5m",
        "The gateway answers requests for {{ $labels.exported_namespace }}/{{ $labels.service }} with errors",
        "{{ $value | humanizePercentage }} of the answers have a status of 500 or above.",
    ),
    Alert(
        "LLMServiceGatewayCertificateRefused",
        "warning",
        f"{of_operator('llmservice_gateway_configuration_valid')} == 0",
        "5m",
        "The gateway serves an old certificate",
        "NGINX in {{ $labels.pod }} has refused the newest certificate.",
    ),
]

GROUPS = {"llmservice.budgets": BUDGETS, "llmservice.services": SERVICES, "llmservice.platform": PLATFORM}
