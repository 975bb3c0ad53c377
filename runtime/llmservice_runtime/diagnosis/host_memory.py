"""Limit and out-of-memory kills of the container, from its cgroup (version 2).

Without these files (cgroup version 1, no container) the values are unknown, which is not an error.
"""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def kills(cgroup: Path = CGROUP) -> int:
    """How many processes of this container the kernel has killed because memory ran out; 0 if unknown."""
    for line in _read(cgroup / "memory.events").splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill" and count.isdecimal():
            return int(count)
    return 0


def limit_gib(cgroup: Path = CGROUP) -> float | None:
    """The memory limit of the container; None if there is none, or if it is unknown."""
    text = _read(cgroup / "memory.max").strip()
    return round(int(text) / 2**30, 2) if text.isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
