"""Engines on a CPU: what the processor can do, and CPU emulation: vLLM on a CPU in place of a GPU, for test clusters
whose GPUs exist only as numbers.

An image with vLLM for CPUs that sets LLMSERVICE_CPU_STANDS_IN=1 serves specs for GPUs, so that everything around the
engine can be tested with a real vLLM. The operator never sets this variable.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AcceleratorType
from llmservice_contract.container import CPU_STANDS_IN_VARIABLE
from llmservice_runtime.launcher.settings import Settings, WrongSettings
from llmservice_runtime.launcher.values import Problem


def has_avx512(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has AVX-512; True if its architecture does not need it, or if this is unknown."""
    if platform.machine() != "x86_64":
        return True
    try:
        return "avx512f" in cpuinfo.read_text().split()
    except OSError:
        return True


def stands_in(environ: Mapping[str, str]) -> bool:
    """Whether the image enables CPU emulation."""
    return environ.get(CPU_STANDS_IN_VARIABLE) == "1"


def emulates_gpu(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether the settings are for a GPU and CPU emulation is enabled."""
    return settings.accelerator is not AcceleratorType.CPU and stands_in(environ)


def on_cpu(settings: Settings) -> Settings:
    """These settings on a CPU. Raises WrongSettings for settings that vLLM does not support there."""
    if settings.values[rows.PIPELINE_PARALLEL] > 1:
        text = (
            f"{settings.values.shown(rows.PIPELINE_PARALLEL)} is not allowed if a CPU emulates the GPU "
            f"({CPU_STANDS_IN_VARIABLE}=1): vLLM 0.32 fails at the first request there. Set it to 1."
        )
        raise WrongSettings(Problem.of(text, rows.PIPELINE_PARALLEL))
    return settings.on(AcceleratorType.CPU)


def without_effect(settings: Settings) -> str:
    """The settings that apply only to GPUs, as the end of a sentence; empty if there are none."""
    return ", ".join(map(str, settings.values.without_effect(AcceleratorType.CPU)))
