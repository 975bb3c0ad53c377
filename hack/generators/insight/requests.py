"""The dashboard Request Analytics: queues, waiting times, batch sizes, lengths, and how requests end."""

from __future__ import annotations

from insight.panel import NAMESPACE, OF_SERVICE, SERVICE_NAME, Dashboard, Panel, Query, Row
from insight.queries import INTERVAL, PODS, by_service, mean, quantile, rate

ENDED = by_service(rate("vllm:request_success_total", 'finished_reason=~"stop|length"'))
ALL = by_service(rate("vllm:request_success_total"))
GATEWAY = 'exported_namespace=~"$namespace", service=~"$service"'


def of_gateway(name: str, *labels: str) -> str:
    """Rate of a counter of the NGINX gateway by service."""
    by = ", ".join(("exported_namespace", "service", *labels))
    return f"sum by ({by}) (rate({name}{{{GATEWAY}}}[{INTERVAL}]))"


OF_GATEWAY = "{{exported_namespace}}/{{service}}"


def lengths(title: str, histogram: str, description: str) -> Panel:
    """Median, P95 and mean of a number of tokens."""
    return Panel(
        title,
        "short",
        description,
        [
            Query(quantile(0.5, histogram), f"{OF_SERVICE} p50"),
            Query(quantile(0.95, histogram), f"{OF_SERVICE} p95"),
            Query(mean(histogram), f"{OF_SERVICE} mean"),
        ],
    )


DASHBOARD = Dashboard(
    "request-analytics",
    "Request Analytics",
    "Queue depth, waiting time, batch sizes, lengths of prompts and answers, and how requests end.",
    [NAMESPACE, SERVICE_NAME],
    [
        Row(
            "Queue and batch",
            [
                Panel(
                    "Queue depth",
                    "short",
                    "Sequences in vLLM's queue, with those that the gateway holds. If it stays above 0, there are too few replicas or the KV cache is too small.",
                    [Query(by_service(f"vllm:num_requests_waiting{{{PODS}}}"))],
                ),
                Panel(
                    "Running sequences",
                    "short",
                    "Sequences in the batches of all replicas.",
                    [Query(by_service(f"vllm:num_requests_running{{{PODS}}}"))],
                ),
                Panel(
                    "Waiting time",
                    "s",
                    "Time of requests in vLLM's queue.",
                    [
                        Query(quantile(share, "vllm:request_queue_time_seconds"), f"{OF_SERVICE} p{100 * share:g}")
                        for share in (0.5, 0.95, 0.99)
                    ],
                ),
                Panel(
                    "Batch size distribution",
                    "short",
                    "Steps of the engines by the number of sequences that got a token in them.",
                    [Query(f"sum by (le) (increase(llm_batch_size_bucket{{{PODS}}}[{INTERVAL}]))", "{{le}}")],
                    kind="heatmap",
                    width=12,
                    minimum=None,
                ),
                Panel(
                    "Mean batch size",
                    "short",
                    "Sequences for each step of the engine. Larger batches generate more tokens per second, each of them later.",
                    [Query(mean("llm_batch_size"))],
                ),
                Panel(
                    "Preemptions",
                    "cps",
                    "Sequences per second that were removed from the batch because the KV cache was full; they are computed again.",
                    [Query(by_service(rate("vllm:num_preemptions_total")))],
                    width=4,
                ),
            ],
        ),
        Row(
            "Results",
            [
                Panel(
                    "Success",
                    "percentunit",
                    "Share of requests in the engine that ended with a whole answer (stop, length), not by an error, by an abort of the client, or by repetition.",
                    [Query(f"{ENDED} / {ALL}")],
                    maximum=1,
                ),
                Panel(
                    "How requests end",
                    "reqps",
                    "stop: the model ended its answer; length: max_tokens or the context; abort: the client left; error; repetition: the same tokens again and again.",
                    [
                        Query(
                            by_service(rate("vllm:request_success_total"), "finished_reason"),
                            f"{OF_SERVICE} {{{{finished_reason}}}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Responses",
                    "reqps",
                    "Responses of the replicas per second by class of HTTP status.",
                    [
                        Query(
                            by_service(rate("http_requests_total", 'handler=~"/v1/.*"'), "status"),
                            f"{OF_SERVICE} {{{{status}}}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Requests at the gateway",
                    "reqps",
                    "Requests to the NGINX gateway by HTTP status (chart value gateway.type).",
                    [Query(of_gateway("llmservice_gateway_requests_total", "code"), f"{OF_GATEWAY} {{{{code}}}}")],
                    stacked=True,
                ),
                Panel(
                    "Choice of replicas",
                    "reqps",
                    "Why the gateway chose a replica: affinity (it has the prompt's prefix), bound (it has too much work), load.",
                    [Query(of_gateway("llmservice_gateway_choices_total", "reason"), f"{OF_GATEWAY} {{{{reason}}}}")],
                    stacked=True,
                ),
                Panel(
                    "Retries of the gateway",
                    "reqps",
                    "Requests that went to a second replica, because the first one failed before its answer.",
                    [
                        Query(
                            f"{of_gateway('llmservice_gateway_retries_total')} or {of_gateway('llmservice_gateway_requests_total')} * 0",
                            OF_GATEWAY,
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Lengths",
            [
                lengths(
                    "Tokens of prompts",
                    "vllm:request_prompt_tokens",
                    "Tokens of a request's prompt, with the chat template.",
                ),
                lengths(
                    "Tokens of answers", "vllm:request_generation_tokens", "Tokens of an answer, counted when it ends."
                ),
                Panel(
                    "Requests in flight",
                    "short",
                    "Inference requests in flight at the replicas, including those in vLLM's queue.",
                    [Query(by_service(f"llm_active_requests{{{PODS}}}"))],
                ),
            ],
        ),
    ],
)
