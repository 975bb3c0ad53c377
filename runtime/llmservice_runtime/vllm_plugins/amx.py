"""Asks Linux for AMX, which vLLM's attention on a CPU uses without asking: without leave it is an illegal instruction.

The leave is a process's own and ends with exec, so it is asked for by a plug-in that vLLM loads in each of its
processes (entry-point group `vllm.general_plugins`).
"""

from __future__ import annotations

import ctypes
import platform

_ARCH_PRCTL = 158
"""Of x86-64."""
_ARCH_REQ_XCOMP_PERM = 0x1023
_XFEATURE_XTILEDATA = 18


def allow() -> None:
    """Does nothing if processor or kernel have none of it."""
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)
