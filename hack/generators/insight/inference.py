"""The dashboard Inference Performance: latencies against their targets, throughput, errors."""

from __future__ import annotations

from insight.panel import NAMESPACE, OF_SERVICE, SERVICE_NAME, Dashboard, Panel, Query, Row
from insight.queries import PODS, SERVICES, by_service, quantile, rate

PERCENTILES = (0.5, 0.95, 0.99)
API = 'handler=~"/v1/.*"'


def latency(title: str, histogram: str, target: str, description: str) -> Panel:
    """P50, P95 and P99 with the targets of the spec."""
    queries = [Query(quantile(share, histogram), f"{OF_SERVICE} p{100 * share:g}") for share in PERCENTILES]
    targets = f'max by (llmservice_namespace, llmservice, percentile) (llmservice_latency_target_seconds{{{SERVICES}, latency="{target}"}})'
    legend = "{{llmservice_namespace}}/{{llmservice}} target {{percentile}}"
    return Panel(title, "s", description, [*queries, Query(targets, legend)])


def of_requests(*matchers: str) -> str:
    """Responses of the OpenAI API per second."""
    return by_service(rate("http_requests_total", API, *matchers))


FAILED = of_requests('status="5xx"')
ERRORS = f"({FAILED} or {of_requests()} * 0) / {of_requests()}"

DASHBOARD = Dashboard(
    "inference-performance",
    "Inference Performance",
    "Latencies of services against their targets, requests and tokens per second, and errors.",
    [NAMESPACE, SERVICE_NAME],
    [
        Row(
            "Now",
            [
                Panel(
                    "Requests per second",
                    "reqps",
                    "Inference requests that ended per second, with any result.",
                    [Query(by_service(rate("llm_inference_latency_seconds_count")))],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Generated tokens per second",
                    "short",
                    "Tokens that the engines generate per second, over the last 15 s.",
                    [Query(by_service(f"llm_throughput_tokens_per_second{{{PODS}}}"))],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "P99 time to first token",
                    "s",
                    "99 of 100 requests got their first token within this time.",
                    [Query(quantile(0.99, "vllm:time_to_first_token_seconds"))],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Error rate",
                    "percentunit",
                    "Share of requests to /v1/... that were answered with a status of 500 or above.",
                    [Query(ERRORS)],
                    kind="stat",
                    width=6,
                    maximum=1,
                ),
            ],
        ),
        Row(
            "Latency",
            [
                latency(
                    "Time to first token",
                    "vllm:time_to_first_token_seconds",
                    "timeToFirstToken",
                    "From the arrival of a request at vLLM to its first token, its time in the queue included. If it rises with the queue, more replicas help.",
                ),
                latency(
                    "Inter-token latency",
                    "vllm:inter_token_latency_seconds",
                    "interTokenLatency",
                    "Between two tokens of a sequence. It rises with the batch size and with long prompts of others.",
                ),
                latency(
                    "Request latency",
                    "vllm:e2e_request_latency_seconds",
                    "requestLatency",
                    "From the arrival of a request at vLLM to its last token. It depends on the lengths of answers.",
                ),
                Panel(
                    "Latency at the HTTP server",
                    "s",
                    "From the first byte of a request to the last byte of its answer, with the runtime's own checks, by route.",
                    [
                        Query(
                            quantile(0.99, "llm_inference_latency_seconds", "route"), f"{OF_SERVICE} {{{{route}}}} p99"
                        )
                    ],
                    width=12,
                ),
                Panel(
                    "Time to first token by tier",
                    "s",
                    "P99 for each tier of API keys; none: without a key.",
                    [
                        Query(
                            quantile(0.99, "llm_time_to_first_token_seconds", "tier"), f"{OF_SERVICE} {{{{tier}}}} p99"
                        )
                    ],
                    width=12,
                ),
            ],
        ),
        Row(
            "Throughput and errors",
            [
                Panel(
                    "Requests per second",
                    "reqps",
                    "Inference requests that ended per second, by route.",
                    [
                        Query(
                            by_service(rate("llm_inference_latency_seconds_count"), "route"),
                            f"{OF_SERVICE} {{{{route}}}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Tokens per second",
                    "short",
                    "Tokens of prompts that were read, and tokens that were generated.",
                    [
                        Query(by_service(rate("vllm:prompt_tokens_total")), f"{OF_SERVICE} prompt"),
                        Query(by_service(rate("vllm:generation_tokens_total")), f"{OF_SERVICE} generated"),
                    ],
                ),
                Panel(
                    "Error rate",
                    "percentunit",
                    "Share of requests to /v1/... that were answered with a status of 500 or above. Refusals (4xx) are no errors.",
                    [Query(ERRORS)],
                    maximum=1,
                ),
                Panel(
                    "Tokens by tier",
                    "short",
                    "Tokens of prompts and answers per second by tier of the API keys; counted when a request ends.",
                    [
                        Query(
                            by_service(rate("llm_tokens_total"), "tier", "kind"),
                            f"{OF_SERVICE} {{{{tier}}}} {{{{kind}}}}",
                        )
                    ],
                    width=12,
                    stacked=True,
                ),
                Panel(
                    "Refused requests",
                    "reqps",
                    "Requests that the runtime refused before the engine, by reason (docs/metrics.md).",
                    [Query(by_service(rate("llm_rejected_requests_total"), "reason"), f"{OF_SERVICE} {{{{reason}}}}")],
                    width=12,
                    stacked=True,
                ),
            ],
        ),
    ],
)
