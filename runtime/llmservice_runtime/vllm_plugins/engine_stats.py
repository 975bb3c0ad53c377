"""Metrics of the engine's steps: tokens per second and batch size.

vLLM calls its stat loggers once per step, in the process that serves HTTP, so this adds no cost per request. The data
is not a stable interface, and an exception here would end the engine: if a field is missing, both metrics are removed
from the page, one log line says so, and the engine continues.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sized
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, Histogram

from llmservice_contract import metrics

BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)

_log = logging.getLogger(__name__)


class Step(Protocol):
    """The part of vLLM's IterationStats that is used."""

    @property
    def num_generation_tokens(self) -> int: ...
    @property
    def time_to_first_tokens_iter(self) -> Sized:
        """One entry for each sequence that got its first token in this step."""

    @property
    def inter_token_latencies_iter(self) -> Sized:
        """One entry for each sequence that got a later token."""


class Throughput:
    """Tokens per second of the last THROUGHPUT_SECONDS, including the current second so far."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._seconds = [-1] * metrics.THROUGHPUT_SECONDS
        self._tokens = [0] * metrics.THROUGHPUT_SECONDS

    def add(self, tokens: int) -> None:
        second = int(self._now())
        slot = second % metrics.THROUGHPUT_SECONDS
        if self._seconds[slot] != second:
            self._tokens[slot] = 0
            self._seconds[slot] = second
        self._tokens[slot] += tokens

    def per_second(self) -> float:
        now = self._now()
        first = int(now) - metrics.THROUGHPUT_SECONDS + 1
        pairs = zip(self._seconds, self._tokens, strict=True)
        return sum(tokens for second, tokens in pairs if second >= first) / (now - first)


class EngineStats:
    """The engine's metrics in one registry; one object per process, for all its engines."""

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._throughput = Throughput(now)
        self._gauge = Gauge(
            metrics.THROUGHPUT,
            f"Tokens generated per second, over the last {metrics.THROUGHPUT_SECONDS} s.",
            registry=registry,
        )
        self._gauge.set_function(self._throughput.per_second)
        self._batch = Histogram(
            metrics.BATCH_SIZE,
            "Sequences that one step of the engine advanced.",
            registry=registry,
            buckets=BATCH_BUCKETS,
        )
        self._understood = True

    def record(self, step: Step) -> None:
        """Records a step that advanced at least one sequence. Never raises."""
        if not self._understood:
            return
        try:
            sequences = len(step.time_to_first_tokens_iter) + len(step.inter_token_latencies_iter)
            tokens = step.num_generation_tokens
        except (AttributeError, TypeError) as error:
            self._give_up(error)
            return
        if sequences:
            self._batch.observe(sequences)
            self._throughput.add(tokens)

    def _give_up(self, error: Exception) -> None:
        self._understood = False
        self._registry.unregister(self._gauge)
        self._registry.unregister(self._batch)
        _log.warning(
            "%s and %s are not measured: this vLLM reports its steps in another way (%s).",
            metrics.THROUGHPUT,
            metrics.BATCH_SIZE,
            error,
        )
