"""Names and labels of the metrics that the runtime adds to vLLM's own on its metrics page."""

from __future__ import annotations

LATENCY = "llm_inference_latency_seconds"
"""Histogram by `route` and `tier`: from the first byte of a request to the last of its answer."""
ACTIVE = "llm_active_requests"
"""Gauge: requests for work that are being answered."""
REJECTIONS = "llm_rejected_requests_total"
"""Counter by `reason` and `tier`."""
TOKENS = "llm_tokens_total"
"""Counter by `key_id`, `tier` and `kind` (PROMPT, COMPLETION)."""
PROMPT = "prompt"
COMPLETION = "completion"
STORE_FAILURES = "llm_rate_limit_store_failures_total"
"""Counter: times that the shared store did not answer."""

THROUGHPUT = "llm_throughput_tokens_per_second"
"""Gauge: tokens generated per second, over the last THROUGHPUT_SECONDS."""
THROUGHPUT_SECONDS = 15
BATCH_SIZE = "llm_batch_size"
"""Histogram: sequences that one step of the engine advanced."""

GPU_MEMORY = "llm_gpu_memory_usage_bytes"
"""Gauge by `gpu`: memory in use, as NVML reports it; absent without a GPU."""
GPU_MEMORY_TOTAL = "llm_gpu_memory_total_bytes"
"""Gauge by `gpu`."""

MOST_KEY_IDS = 1000
"""Pairs of key id and tier that TOKENS tells apart; the tokens of later ones are those of OTHER, by tier."""
MOST_TIERS = 50
"""Tiers with series of their own; later ones are OTHER."""
OTHER = "_other"
"""A label that no tier and no key's id can be."""
