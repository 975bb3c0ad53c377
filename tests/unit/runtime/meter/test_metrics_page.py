"""docs/metrics.md names every metric of the runtime and of the operator, as it is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from prometheus_client import CollectorRegistry, Metric

from llmservice_contract import metrics
from llmservice_operator.metrics import REGISTRY as OPERATORS
from llmservice_runtime.gateway.meter import Meter
from llmservice_runtime.vllm_plugins import start_times
from llmservice_runtime.vllm_plugins.engine_probe import EngineProbe
from llmservice_runtime.vllm_plugins.engine_stats import EngineStats
from llmservice_runtime.vllm_plugins.engine_watch import Activity, EngineWatch
from llmservice_runtime.vllm_plugins.gpu import GpuMemory
from support.metrics_page import PAGE, ROWS


def engine_client() -> Any:
    """vLLM's, with one engine core."""
    client = MagicMock()
    client.engine_core.engine_ranks_managed, client.engine_core.core_engines = [0], [b""]
    return client


def runtimes() -> CollectorRegistry:
    """What a pod with a GPU adds to vLLM's page, each metric with a series."""
    registry = CollectorRegistry()
    EngineStats(registry)
    meter = Meter(registry)
    meter.rejected("n", "default")
    meter.first_token("default", 0.1)
    meter.finished("/v1/completions", "default", "key1", 0.1, 1, 1)
    memory = SimpleNamespace(used=1, total=2)
    nvml = SimpleNamespace(
        NVMLError=OSError,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda handle: memory,
    )
    registry.register(GpuMemory(nvml))
    folder = tempfile.mkdtemp()
    for stage in (metrics.LOAD_MODEL, metrics.WARM_UP):
        Path(folder, stage).write_text("1.5\n")
    start_times.register(registry, None, {start_times.FOLDER: folder})
    EngineProbe(engine_client(), lambda _: EngineWatch(30.0, lambda: Activity.BUSY), registry)
    return registry


def as_documented(family: Metric) -> tuple[str, tuple[str, frozenset[str]]]:
    """Name, type and labels of a metric as its page would have them."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    return name, (family.type, frozenset(labels))


@pytest.mark.parametrize("family", list(runtimes().collect()), ids=lambda family: family.name)
def test_each_metric_of_the_runtime_has_its_row(family: Metric) -> None:
    name, what = as_documented(family)
    assert ROWS.get(name) == what, f"docs/metrics.md: the row of {name} has to say {what}"


@pytest.mark.parametrize("family", list(OPERATORS.collect()), ids=lambda family: family.name)
def test_each_metric_of_the_operator_has_its_row(family: Metric) -> None:
    name, (kind, labels) = as_documented(family)
    row = ROWS.get(name)
    assert row is not None, f"docs/metrics.md has no row for {name}"
    assert row[0] == kind
    assert labels <= row[1], "a metric without a series yet shows no labels"


def test_the_page_names_no_metric_that_is_gone() -> None:
    there = {as_documented(family)[0] for registry in (runtimes(), OPERATORS) for family in registry.collect()}
    assert {name for name in ROWS if not name.startswith("vllm:")} <= there


def test_the_page_has_the_bounds_of_the_code() -> None:
    assert f"has series for {metrics.MOST_KEY_IDS:,} keys" in PAGE
    assert f"has series for {metrics.MOST_TIERS} tiers" in PAGE
    assert PAGE.count(f"`{metrics.OTHER}`") == 2
    assert f"over the last {metrics.THROUGHPUT_SECONDS} s" in PAGE
