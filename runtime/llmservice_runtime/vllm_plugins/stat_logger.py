"""vLLM's stat-logger plug-in (entry-point group `vllm.stat_logger_plugins`): hands each step to EngineStats.

vLLM loads it in the process that serves HTTP, before the application exists. It is the only module that imports vLLM
at import time, because vLLM requires a subclass of its class; so no other module imports it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from prometheus_client import REGISTRY
from vllm.v1.metrics.loggers import AggregateStatLoggerBase

from llmservice_runtime.vllm_plugins import gpu
from llmservice_runtime.vllm_plugins.engine_stats import EngineStats, Step


@cache
def _of_this_process() -> EngineStats:
    """vLLM may recreate its loggers while it runs; the metrics stay."""
    gpu.register(REGISTRY)
    return EngineStats(REGISTRY)


class StatLogger(AggregateStatLoggerBase):  # type: ignore[misc] # without vLLM there are no types
    """One object for all engines of the process."""

    def __init__(self, vllm_config: Any, engine_indexes: list[int]) -> None:
        self._stats = _of_this_process()

    def record(
        self, scheduler_stats: Any, iteration_stats: Step | None, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        """Called once for each step; `iteration_stats` is None if it advanced nothing."""
        if iteration_stats is not None:
            self._stats.record(iteration_stats)

    def log_engine_initialized(self) -> None:
        """Nothing to log."""
