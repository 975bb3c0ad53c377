"""Memory of GPUs: reported if NVML answers, absent otherwise, and the page is always served."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from llmservice_contract.metrics import GPU_MEMORY, GPU_MEMORY_TOTAL
from llmservice_runtime.vllm_plugins import gpu
from llmservice_runtime.vllm_plugins.gpu import GpuMemory, GpuUse

GIB = 1024**3


class Nvml:
    """The module as GpuMemory uses it: a list of GPUs with used and total bytes."""

    class NVMLError(Exception):
        """What every failing call raises."""

    def __init__(self, *gpus: tuple[int, int]) -> None:
        self.gpus = list(gpus)
        self.lost: set[int] = set()
        self.without_driver = False
        self.answers = threading.Event()
        self.answers.set()
        self.asked = 0
        self.use = [0 for _ in gpus]

    def nvmlInit(self) -> None:  # noqa: N802
        if self.without_driver:
            raise self.NVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        self.answers.wait(30)
        self.asked += 1
        if handle in self.lost:
            raise self.NVMLError("GPU is lost")
        used, total = self.gpus[handle]
        return SimpleNamespace(used=used, total=total)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802
        self.answers.wait(30)
        if handle in self.lost:
            raise self.NVMLError("not supported")
        return SimpleNamespace(gpu=self.use[handle])


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def page_of(nvml: Nvml, clock: Clock) -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("other", "Another metric of the page.", registry=registry)
    registry.register(GpuMemory(nvml, clock))
    return registry


def used(registry: CollectorRegistry, gpu: str) -> float | None:
    return registry.get_sample_value(GPU_MEMORY, {"gpu": gpu})


def test_each_gpu_tells_used_and_total() -> None:
    registry = page_of(Nvml((3 * GIB, 80 * GIB), (0, 80 * GIB)), Clock())
    assert used(registry, "0") == 3 * GIB
    assert used(registry, "1") == 0
    assert registry.get_sample_value(GPU_MEMORY_TOTAL, {"gpu": "0"}) == 80 * GIB


def test_a_lost_gpu_leaves_the_page_and_comes_back() -> None:
    nvml, clock = Nvml((1, 10), (2, 10)), Clock()
    registry = page_of(nvml, clock)
    nvml.lost = {0}
    assert (used(registry, "0"), used(registry, "1")) == (None, 2)
    nvml.lost, clock.time = set(), 10.0
    assert (used(registry, "0"), used(registry, "1")) == (1, 2)


def test_a_driver_that_fails_drops_the_series_alone() -> None:
    nvml = Nvml((1, 10))
    nvml.lost = {0}
    page = generate_latest(page_of(nvml, Clock())).decode()
    assert GPU_MEMORY not in page
    assert "other 0.0" in page


def test_many_readers_ask_nvml_once_a_second() -> None:
    nvml, clock = Nvml((1, 10)), Clock()
    registry = page_of(nvml, clock)
    for _ in range(20):
        assert used(registry, "0") == 1
    assert nvml.asked == 1
    nvml.gpus, clock.time = [(5, 10)], gpu.FRESH_SECONDS
    assert used(registry, "0") == 5


def test_a_call_that_hangs_holds_no_page_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PATIENCE_SECONDS", 0.05)
    nvml, clock = Nvml((1, 10)), Clock()
    registry = page_of(nvml, clock)
    nvml.answers.clear()
    threads = threading.active_count()
    for clock.time in (0.0, 10.0, 20.0):
        page = generate_latest(registry).decode()
        assert GPU_MEMORY not in page, "a page that had waited for the call would have it"
        assert "other 0.0" in page
    assert threading.active_count() == threads + 1, "one call hangs, however often the page is read"
    nvml.answers.set()
    monkeypatch.setattr(gpu, "PATIENCE_SECONDS", 30)
    assert used(registry, "0") == 1


@pytest.mark.parametrize("case", ["no driver", "no GPU", "no NVML"])
def test_without_a_gpu_nothing_is_registered(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    nvml.without_driver = case == "no driver"
    for name in gpu.NVML_MODULES:
        monkeypatch.setitem(sys.modules, name, None if case == "no NVML" else nvml)
    registry = CollectorRegistry()
    assert not gpu.register(registry)
    assert generate_latest(registry) == b""


def test_with_a_gpu_the_copy_of_vllm_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, nvml in zip(gpu.NVML_MODULES, (Nvml((7, 10)), Nvml((8, 10))), strict=True):
        monkeypatch.setitem(sys.modules, name, nvml)
    registry = CollectorRegistry()
    assert gpu.register(registry)
    assert used(registry, "0") == 7


def use_of(nvml: Nvml) -> bool:
    """What the call after the next one says."""
    use = GpuUse(nvml)
    use.is_busy()
    assert use._reader is not None
    use._reader.join(30)
    return use.is_busy()


def test_gpus_that_compute_are_busy() -> None:
    nvml = Nvml((1, 10), (1, 10))
    assert not use_of(nvml)
    nvml.use[1] = 3
    assert use_of(nvml)


def test_a_gpu_of_which_it_is_not_known_is_busy() -> None:
    nvml = Nvml((1, 10))
    assert GpuUse(nvml).is_busy(), "before the first reading"
    nvml.lost = {0}
    assert use_of(nvml)


def test_a_call_that_hangs_makes_it_busy_and_starts_no_second_thread() -> None:
    nvml = Nvml((1, 10))
    nvml.answers.clear()
    use = GpuUse(nvml)
    threads = threading.active_count()
    assert all(use.is_busy() for _ in range(5))
    assert threading.active_count() == threads + 1
    nvml.answers.set()
