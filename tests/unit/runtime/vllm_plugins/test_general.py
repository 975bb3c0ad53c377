"""Leave to use AMX, as the kernel of this machine gives it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ASK = """
import ctypes
from llmservice_runtime.vllm_plugins.general import allow_amx
allow_amx()
granted = ctypes.c_uint64()
ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(granted))  # ARCH_GET_XCOMP_PERM
print(granted.value >> 18 & 1)
"""


def test_a_process_may_use_it_where_the_processor_has_it() -> None:
    here = "amx_tile" in Path("/proc/cpuinfo").read_text()
    answer = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout
    assert answer.strip() == str(int(here))
