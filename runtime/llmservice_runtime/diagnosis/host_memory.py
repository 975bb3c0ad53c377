"""What the kernel has counted of the container's memory, from its cgroup (version 2).

Where there is no such file (another cgroup version, no container) nothing is known, which is never an error.
"""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def kills(cgroup: Path = CGROUP) -> int:
    """How many processes the kernel has killed in this container for memory; 0 if that is not known."""
    for line in _read(cgroup / "memory.events").splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill" and count.isdecimal():
            return int(count)
    return 0


def limit_gib(cgroup: Path = CGROUP) -> float | None:
    """The container's limit; None if it has none or that is not known."""
    text = _read(cgroup / "memory.max").strip()
    return round(int(text) / 2**30, 2) if text.isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
