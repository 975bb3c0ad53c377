"""The engine's metrics page: names and labels of the metrics that the runtime adds, and the bounds of vLLM's latency
histograms.

The bounds are fixed and finer than vLLM's own, so that a target can be judged as met or missed, and a change of targets
restarts no engine. Between FINE bounds a percentile is known to within 28 %: ten of them to each power of ten, as round
as targets are. A target that is itself a bound is decided exactly. Outside them the steps are coarser. The last bound
is above the longest target (600 s), so what exceeds a target always shows. Each engine has some 90 series more by this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_ROUND = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
"""One power of ten in ten nearly equal ratios (preferred numbers, ISO 3)."""

FINE: Mapping[str, tuple[float, float]] = {
    "time_to_first_token": (0.04, 5.0),
    "inter_token_latency": (0.005, 0.5),
    "request_latency": (0.5, 63.0),
}
"""First and last fine bound, in seconds, by vLLM's name for the family of histograms."""

_BELOW: Mapping[str, tuple[float, ...]] = {
    "time_to_first_token": (0.005, 0.01, 0.02, 0.03),
    "inter_token_latency": (0.001, 0.002, 0.003, 0.004),
    "request_latency": (0.01, 0.05, 0.1, 0.2, 0.3),
}
_ABOVE: Mapping[str, tuple[float, ...]] = {
    "time_to_first_token": (7.5, 10.0, 20.0, 60.0, 200.0, 1000.0),
    "inter_token_latency": (0.75, 1.0, 2.0, 5.0, 20.0, 1000.0),
    "request_latency": (100.0, 160.0, 300.0, 600.0, 1000.0),
}


def _round_between(first: float, last: float) -> Iterator[float]:
    for power in range(-3, 3):
        for mantissa in _ROUND:
            bound = float(f"{mantissa}e{power}")
            if first <= bound <= last:
                yield bound


BUCKETS: Mapping[str, tuple[float, ...]] = {
    family: (*_BELOW[family], *_round_between(*FINE[family]), *_ABOVE[family]) for family in FINE
}
"""Upper bounds in seconds by vLLM's name for the family."""


LATENCY = "llm_inference_latency_seconds"
"""Histogram by `route` and `tier`: from the first byte of a request to the last of its answer."""
FIRST_TOKEN = "llm_time_to_first_token_seconds"
"""Histogram by `tier`: from the arrival of a request at vLLM to the first token of its first answer."""
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

ENGINE_STALLED = "llm_engine_stalled_seconds"
"""Gauge: for how long the engine has not answered, or computed nothing, while requests or a probe waited."""
ENGINE_PROBES = "llm_engine_probes_total"
"""Counter: tokens that an idle engine had to generate, to show that it works."""

LOAD_SECONDS = "llm_model_load_seconds"
"""Gauge: seconds in which the engine loaded the model at its start."""
WARM_UP_SECONDS = "llm_engine_warm_up_seconds"
"""Gauge: seconds in which it then profiled its memory, compiled and warmed up."""
LOAD_WEIGHTS, LOAD_MODEL, WARM_UP = "weights", "model", "warm-up"
"""Stages of a start, as vLLM measures them."""
MODEL_INFO = "llm_model_info"
"""Gauge, always 1, by `quantization`, `dtype`, `kv_cache_dtype` and `max_model_len`."""

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
