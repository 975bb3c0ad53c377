"""The memory of large bodies goes back to the kernel, also if what was allocated between them stays."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from llmservice_runtime.vllm_plugins import allocator

BODIES = """
import os, sys
from llmservice_runtime.vllm_plugins.allocator import return_freed_memory

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

if sys.argv[1] == "set":
    assert return_freed_memory()
earlier = b"x" * (8 << 20)
del earlier
before, bodies, others = rss(), [], []
for _ in range(25):
    bodies.append(b"x" * (2 << 20))
    others.append(b"y" * 1000)
most = rss()
del bodies
print(most - before, rss() - before)
"""


def growth(how: str) -> tuple[float, float]:
    """MiB while bodies of 50 MiB are there, and once they are freed."""
    done = subprocess.run([sys.executable, "-c", BODIES, how], capture_output=True, text=True, check=True)
    most, left = done.stdout.split()
    return float(most), float(left)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_bodies_leave_nothing_behind() -> None:
    most, left = growth("set")
    assert most > 45 and left < 8
    # So it is the settings that do it.
    assert growth("unset")[1] > 40


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: object())
    assert allocator.return_freed_memory() is False
