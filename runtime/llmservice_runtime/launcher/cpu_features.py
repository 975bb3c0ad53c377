"""What the processor can do that vLLM's kernels for CPUs ask for."""

from __future__ import annotations

import platform
from pathlib import Path


def has_avx512(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether it has AVX-512, or is of a kind that is not asked for it; True if that can't be found out."""
    if platform.machine() != "x86_64":
        return True
    try:
        return "avx512f" in cpuinfo.read_text().split()
    except OSError:
        return True
