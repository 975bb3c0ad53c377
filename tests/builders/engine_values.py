"""A text and its value for each engine setting; a new row of the table needs one here."""

from __future__ import annotations

from typing import Any

from llmservice_contract.choices import (
    AcceleratorType,
    AttentionBackend,
    KVCacheDtype,
    LogFormat,
    QuantizationMethod,
    SpeculativeMethod,
)

EVERY: dict[str, tuple[str, Any]] = {
    "MODEL_SOURCE": ("hf://Qwen/Qwen3-8B", "hf://Qwen/Qwen3-8B"),
    "MODEL_REVISION": ("0e9e39f2", "0e9e39f2"),
    "MODEL_SERVED_NAMES": ("qwen, qwen3-8b,qwen", ("qwen", "qwen3-8b")),
    "MODEL_MAX_CONTEXT_LENGTH": ("8192", 8192),
    "QUANTIZATION_METHOD": ("fp8", QuantizationMethod.FP8),
    "QUANTIZATION_KV_CACHE_DTYPE": ("fp8_e4m3", KVCacheDtype.FP8_E4M3),
    "PARALLELISM_TENSOR": ("4", 4),
    "PARALLELISM_PIPELINE": ("1", 1),
    "PARALLELISM_NODES_PER_REPLICA": ("2", 2),
    "NODE_RANK": ("1", 1),
    "MASTER_ADDRESS": ("qwen-0-0.qwen.team-a.svc", "qwen-0-0.qwen.team-a.svc"),
    "GROUP_SECRET": ("/group-secret/group-secret", "/group-secret/group-secret"),
    "ACCELERATOR_TYPE": ("amd", AcceleratorType.AMD),
    "ENGINE_GPU_MEMORY_UTILIZATION": ("0.85", 0.85),
    "ENGINE_MAX_NUM_SEQS": ("128", 128),
    "ENGINE_MAX_NUM_BATCHED_TOKENS": ("4096", 4096),
    "ENGINE_PREFIX_CACHING": ("False", False),
    "ENGINE_CHUNKED_PREFILL": ("true", True),
    "ENGINE_SPECULATIVE_METHOD": ("draft", SpeculativeMethod.DRAFT),
    "ENGINE_SPECULATIVE_MODEL": ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
    "ENGINE_SPECULATIVE_REVISION": ("v1", "v1"),
    "ENGINE_SPECULATIVE_TOKENS": ("3", 3),
    "ENGINE_ATTENTION": ("flash", AttentionBackend.FLASH),
    "ENABLE_FLASH_ATTENTION": ("true", True),
    "ENGINE_EXTRA_ARGS": ('{"block-size":"32"}', {"block-size": "32"}),
    "ENGINE_BATCH_TIMEOUT": ("20ms", 20),
    "STARTUP_BUDGET_SECONDS": ("900", 900),
    "PORT": ("9000", 9000),
    "METRICS_PORT": ("9002", 9002),
    "API_KEYS": ("/keys", "/keys"),
    "ACCESS_POLICY": ("/access/access.json", "/access/access.json"),
    "STORE_CREDENTIALS": ("/store", "/store"),
    "ACCESS_MEDIA_DOMAINS": ("a.example,b.example", ("a.example", "b.example")),
    "PLATFORM_MEDIA_DOMAINS": ("c.example", ("c.example",)),
    "LOG_FORMAT": ("json", LogFormat.JSON),
    "SHUTDOWN_LAME_DUCK_SECONDS": ("0", 0),
    "SHUTDOWN_DRAIN_SECONDS": ("120", 120),
    "TRACING_ENDPOINT": ("http://jaeger:4317", "http://jaeger:4317"),
    "TRACE_SAMPLING": ("0.25", 0.25),
    "TRUST_TRACE_FLAGS": ("true", True),
}
"""Of every setting that goes with the others."""
ELSEWHERE: dict[str, tuple[str, Any]] = {"CPU_KV_CACHE_GIB": ("4", 4)}
"""Of those for a CPU."""
