"""The dashboard Model Performance: start times, caches, phases of a request, and signs of a damaged model."""

from __future__ import annotations

from insight.panel import NAMESPACE, OF_SERVICE, SERVICE_NAME, Dashboard, Panel, Query, Row
from insight.queries import PODS, by_service, quantile, rate

ALL = by_service(rate("vllm:request_success_total", 'finished_reason!="abort"'))
PREFIX_HITS = (
    f"{by_service(rate('vllm:prefix_cache_hits_total'))} / {by_service(rate('vllm:prefix_cache_queries_total'))}"
)


def ended_by(reason: str) -> str:
    """Share of answers that ended for this reason."""
    ended = by_service(rate("vllm:request_success_total", f'finished_reason="{reason}"'))
    return f"{ended} / {ALL}"


DASHBOARD = Dashboard(
    "model-performance",
    "Model Performance",
    "Load and warm-up times, cache hits, phases of a request, and how well a quantized model answers.",
    [NAMESPACE, SERVICE_NAME],
    [
        Row(
            "Start",
            [
                Panel(
                    "Load time",
                    "s",
                    "Seconds in which the engine loaded the model at its last start, as vLLM measured them.",
                    [Query(by_service(f"llm_model_load_seconds{{{PODS}}}", "pod", how="max"), "{{namespace}}/{{pod}}")],
                ),
                Panel(
                    "Warm-up time",
                    "s",
                    "Seconds in which it then profiled its memory, made the KV cache, compiled and warmed up.",
                    [
                        Query(
                            by_service(f"llm_engine_warm_up_seconds{{{PODS}}}", "pod", how="max"),
                            "{{namespace}}/{{pod}}",
                        )
                    ],
                ),
                Panel(
                    "Running since",
                    "dateTimeAsIso",
                    "When the process of the HTTP server started: a change is a restart.",
                    [
                        Query(
                            by_service(f"process_start_time_seconds{{{PODS}}}", "pod", how="max") + " * 1000",
                            "{{namespace}}/{{pod}}",
                        )
                    ],
                    kind="stat",
                    minimum=None,
                ),
            ],
        ),
        Row(
            "Caches and phases",
            [
                Panel(
                    "Prefix cache hits",
                    "percentunit",
                    "Share of the prompts' tokens whose KV cache was there already. Only requests with the same beginning find one.",
                    [Query(PREFIX_HITS)],
                    maximum=1,
                ),
                Panel(
                    "Cached prompt tokens",
                    "short",
                    "Tokens of prompts per second that were looked up in the prefix cache, and those that were found.",
                    [
                        Query(by_service(rate("vllm:prefix_cache_queries_total")), f"{OF_SERVICE} looked up"),
                        Query(by_service(rate("vllm:prefix_cache_hits_total")), f"{OF_SERVICE} found"),
                    ],
                ),
                Panel(
                    "Phases of a request",
                    "s",
                    "P95 of the time in the queue, of prefill (to the first token) and of decode (to the last one).",
                    [
                        Query(quantile(0.95, f"vllm:request_{phase}_time_seconds"), f"{OF_SERVICE} {phase}")
                        for phase in ("queue", "prefill", "decode")
                    ],
                ),
            ],
        ),
        Row(
            "Quantization",
            [
                Panel(
                    "How the models run",
                    "short",
                    "Quantization, type of weights and KV cache, and context length of each replica, as vLLM runs them.",
                    [Query(f"llm_model_info{{{PODS}}}")],
                    kind="table",
                    width=12,
                    minimum=None,
                ),
                Panel(
                    "Answers that the model ends",
                    "percentunit",
                    "Share of answers that end with the model's own stop token. If it falls after a change of the quantization, with the same clients, the model has suffered.",
                    [Query(ended_by("stop"))],
                    width=6,
                    maximum=1,
                ),
                Panel(
                    "Degenerate answers",
                    "percentunit",
                    "Share of answers that vLLM ended because they repeat the same tokens (if requests ask for this check) or failed. A healthy model has nearly none.",
                    [
                        Query(ended_by("repetition"), f"{OF_SERVICE} repetition"),
                        Query(ended_by("error"), f"{OF_SERVICE} error"),
                    ],
                    width=6,
                    maximum=1,
                ),
                Panel(
                    "Time per output token",
                    "s",
                    "Median and P95 of a request's mean time for each token after the first: what a quantization is to improve.",
                    [
                        Query(
                            quantile(share, "vllm:request_time_per_output_token_seconds"),
                            f"{OF_SERVICE} p{100 * share:g}",
                        )
                        for share in (0.5, 0.95)
                    ],
                    width=12,
                ),
                Panel(
                    "Generated tokens per second and replica",
                    "short",
                    "Tokens that one replica generates per second.",
                    [Query(by_service(rate("vllm:generation_tokens_total"), "pod"), "{{namespace}}/{{pod}}")],
                    width=12,
                ),
            ],
        ),
    ],
)
