"""Values from the server's /metrics: the mean batch size between two reads, and memory.

If the address has several replicas, /metrics is that of the replica which answered.
"""

from __future__ import annotations

from collections import defaultdict

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract.metrics import BATCH_SIZE, GPU_MEMORY, GPU_MEMORY_TOTAL

Page = dict[str, float]
"""Samples by name, summed over their labels; buckets left out."""
OURS = (f"{BATCH_SIZE}_sum", f"{BATCH_SIZE}_count", f"sum / count of {BATCH_SIZE}")
VLLM = (
    "vllm:generation_tokens_total",
    "vllm:iteration_tokens_total_count",
    "vllm:generation_tokens_total / vllm:iteration_tokens_total_count",
)
KV_CACHE = "vllm:kv_cache_usage_perc"
RESIDENT = "process_resident_memory_bytes"


async def look(http: aiohttp.ClientSession, url: str) -> Page:
    """One look; empty if the server tells no metrics."""
    try:
        async with http.get(url) as response:
            return parse(await response.text()) if response.status == 200 else {}
    except (aiohttp.ClientError, OSError, ValueError):
        return {}


def parse(text: str) -> Page:
    """A page of Prometheus' text format."""
    page: Page = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "le" not in sample.labels:
                page[sample.name] += sample.value
    return dict(page)


def batch_size(before: Page, after: Page) -> tuple[float | None, str]:
    """Mean of sequences that a step of the engine advanced, and by which metrics; none if nothing tells it."""
    for total, count, source in (OURS, VLLM):
        steps = after.get(count, 0.0) - before.get(count, 0.0)
        if count in after and total in after and steps > 0:
            return round((after[total] - before.get(total, 0.0)) / steps, 2), source
    return None, "the server's /metrics do not tell it"


def memory(page: Page) -> dict[str, float | bool | None]:
    """GPU memory of all GPUs; without one the server's process and its KV cache."""
    if GPU_MEMORY in page:
        return {"gpu": True, "used_bytes": page[GPU_MEMORY], "total_bytes": page.get(GPU_MEMORY_TOTAL)}
    return {"gpu": False, "resident_bytes": page.get(RESIDENT), "kv_cache_used": page.get(KV_CACHE)}


def peak(looks: list[dict[str, float | bool | None]]) -> dict[str, float | bool | None]:
    """The highest of each number."""
    highest: dict[str, float | bool | None] = {}
    for each in looks:
        for name, value in each.items():
            known = highest.get(name)
            highest[name] = value if known is None else known if value is None else max(known, value)
    return highest
