"""Memory of the container's GPUs, read from NVML when /metrics is read, and whether they compute.

Without a GPU or NVML there are no series. An error at one GPU removes the series of that GPU, and a call that hangs (a
GPU that has fallen off the bus) removes all of them after PATIENCE_SECONDS. The rest of the page is always served.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from llmservice_contract import metrics

FRESH_SECONDS = 1.0
"""A younger reading is reused, so that the load of NVML does not grow with the number of clients."""
PATIENCE_SECONDS = 0.5
NVML_MODULES = ("vllm.third_party.pynvml", "pynvml")
"""vLLM contains a copy of nvidia-ml-py."""

_log = logging.getLogger(__name__)


def register(registry: CollectorRegistry) -> bool:
    """Adds the metrics to `registry`; False if NVML reports no GPU."""
    nvml = _find_nvml()
    if nvml is None:
        return False
    registry.register(GpuMemory(nvml))
    return True


def _find_nvml() -> Any:
    """The initialized module, if it reports a GPU."""
    for name in NVML_MODULES:
        try:
            nvml = importlib.import_module(name)
        except ImportError:
            continue
        try:
            nvml.nvmlInit()
            return nvml if nvml.nvmlDeviceGetCount() else None
        except nvml.NVMLError as error:
            _log.info("no memory of GPUs is measured: %s", error)
            return None
    return None


class GpuMemory(Collector):
    """Used and total bytes by GPU; `nvml` is the initialized module."""

    def __init__(self, nvml: Any, now: Callable[[], float] = time.monotonic) -> None:
        self._nvml = nvml
        self._now = now
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._read_at = float("-inf")
        self._last: Mapping[str, tuple[int, int]] = {}
        self._failing: frozenset[str] = frozenset()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The names, without asking NVML."""
        yield from _families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The series of the GPUs that answer."""
        readings = self._readings()
        if not readings:
            return
        used, total = _families()
        for gpu, (used_bytes, total_bytes) in readings.items():
            used.add_metric([gpu], used_bytes)
            total.add_metric([gpu], total_bytes)
        yield used
        yield total

    def _readings(self) -> Mapping[str, tuple[int, int]]:
        with self._lock:
            reading = self._reader is not None and self._reader.is_alive()
            if not reading and self._now() - self._read_at >= FRESH_SECONDS:
                self._reader = threading.Thread(target=self._read, name="nvml", daemon=True)
                self._reader.start()
            reader = self._reader
        if reader is not None:
            reader.join(PATIENCE_SECONDS)
            if reader.is_alive():
                return {}
        return self._last

    def _read(self) -> None:
        found, failing = {}, {}
        try:
            for index in range(self._nvml.nvmlDeviceGetCount()):
                try:
                    handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                    memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
                    found[str(index)] = (memory.used, memory.total)
                except self._nvml.NVMLError as error:
                    failing[str(index)] = error
        except self._nvml.NVMLError as error:
            failing["all"] = error
        for gpu in failing.keys() - self._failing:
            _log.warning("the memory of GPU %s is not measured: %s", gpu, failing[gpu])
        self._last, self._read_at, self._failing = found, self._now(), frozenset(failing)


class GpuUse:
    """Whether a GPU computes. NVML is read in a thread, because a call may hang; `nvml` is the initialized module."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._reader: threading.Thread | None = None
        self._is_busy = True

    def is_busy(self) -> bool:
        """Whether a GPU computed shortly before an earlier call; True if that is not known. Does not wait."""
        if self._reader is None or not self._reader.is_alive():
            known, self._is_busy = self._is_busy, True
            self._reader = threading.Thread(target=self._read, name="nvml-use", daemon=True)
            self._reader.start()
            return known
        return True

    def _read(self) -> None:
        try:
            handles = [self._nvml.nvmlDeviceGetHandleByIndex(each) for each in range(self._nvml.nvmlDeviceGetCount())]
            self._is_busy = any(self._nvml.nvmlDeviceGetUtilizationRates(each).gpu > 0 for each in handles)
        except self._nvml.NVMLError:
            self._is_busy = True


def find_gpu_use() -> GpuUse | None:
    """None if NVML reports no GPU."""
    nvml = _find_nvml()
    return None if nvml is None else GpuUse(nvml)


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily(metrics.GPU_MEMORY, "Memory of a GPU that is in use, as NVML reports it.", labels=["gpu"]),
        GaugeMetricFamily(metrics.GPU_MEMORY_TOTAL, "Memory of a GPU, as NVML reports it.", labels=["gpu"]),
    )
