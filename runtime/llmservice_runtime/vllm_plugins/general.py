"""Runs at the start of each process of vLLM (entry-point group `vllm.general_plugins`, one entry of our name)."""

from __future__ import annotations

import ctypes
import os
import platform

from llmservice_runtime.launcher.command import MEDIA_CONNECTOR
from llmservice_runtime.vllm_plugins import start_times, streamed_weights

_ARCH_PRCTL = 158
"""System call number on x86-64."""
_ARCH_REQ_XCOMP_PERM = 0x1023
_XFEATURE_XTILEDATA = 18


def allow_amx() -> None:
    """Requests permission to use AMX. vLLM's CPU attention uses AMX without requesting it: an illegal instruction.

    The permission belongs to a process and ends with exec, so each process of vLLM requests it. Does nothing if the
    processor or the kernel does not support AMX.
    """
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)


def load() -> None:
    """Called by vLLM, in some processes more than once."""
    allow_amx()
    start_times.listen()
    streamed_weights.install()
    if os.environ.get("VLLM_MEDIA_CONNECTOR") == MEDIA_CONNECTOR:
        from llmservice_runtime.vllm_plugins import media_connector

        media_connector.register()
