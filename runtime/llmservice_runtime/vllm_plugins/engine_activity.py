"""What the engine's processes do: from /proc, and from NVML for GPUs.

Only an engine that is known to compute nothing is called quiet. It is busy if that can't be known: an accelerator
without NVML, a thread that waits for a disk or a driver. A thread that waits for a CPU that others have counts as one
that computes; threads that wake up now and then do not.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from llmservice_runtime.vllm_plugins.engine_watch import Activity

BUSY_SHARE = 0.5
"""A thread that ran, or waited for a CPU, for this share of the time computes."""
_STOPPED, _TRACED, _DISK, _RUNNABLE = "T", "t", "D", "R"
_ENDED = ("Z", "X")


class Thread(NamedTuple):
    """One thread, as the kernel reports it."""

    state: str
    wanted_seconds: float | None
    """For how long it has run or waited for a CPU, since it began; None if the kernel does not count it."""


class EngineActivity:
    """The activity of process `root` and of its descendants; if it is None, of the descendants of this process."""

    def __init__(
        self,
        gpu_is_busy: Callable[[], bool],
        root: int | None = None,
        proc: Path = Path("/proc"),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gpu_is_busy = gpu_is_busy
        self._root = os.getpid() if root is None else root
        self._counts_root = root is not None
        self._proc = proc
        self._now = now
        self._last: dict[int, Thread] = {}
        self._last_time = float("-inf")

    def read(self) -> Activity:
        """What they have done since the last reading; BUSY if that is not known."""
        found = {tid: thread for pid in self._processes() for tid, thread in read_threads(self._proc, pid)}
        now = self._now()
        before, seconds = self._last, now - self._last_time
        self._last, self._last_time = found, now
        states = {each.state for each in found.values()}
        if _TRACED in states:
            return Activity.TRACED
        if _STOPPED in states:
            return Activity.STOPPED
        if not found or _DISK in states or seconds == float("inf") or self._gpu_is_busy():
            return Activity.BUSY
        computes = any(_share(each, before.get(tid), seconds) >= BUSY_SHARE for tid, each in found.items())
        return Activity.BUSY if computes else Activity.QUIET

    def _processes(self) -> set[int]:
        parents = dict(read_parents(self._proc))
        found, layer = {self._root}, {self._root}
        while layer:
            layer = {pid for pid, parent in parents.items() if parent in layer} - found
            found |= layer
        return found if self._counts_root else found - {self._root}


def _share(thread: Thread, before: Thread | None, seconds: float) -> float:
    """Of the time in which it had something to compute."""
    if thread.wanted_seconds is None:
        return 1.0 if thread.state == _RUNNABLE else 0.0
    begun = 0.0 if before is None or before.wanted_seconds is None else before.wanted_seconds
    return (thread.wanted_seconds - begun) / seconds


def read_parents(proc: Path) -> Iterator[tuple[int, int]]:
    """All processes of this PID namespace with their parents."""
    for entry in os.scandir(proc):
        if entry.name.isdigit() and (fields := _fields(Path(entry.path))):
            yield int(entry.name), int(fields[1])


def read_threads(proc: Path, pid: int) -> Iterator[tuple[int, Thread]]:
    """The threads of a process by their ids, without those that have ended."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(proc / str(pid) / "task"):
            fields = _fields(Path(entry.path))
            if fields and fields[0] not in _ENDED:
                yield int(entry.name), Thread(fields[0], _wanted(Path(entry.path)))


def _fields(task: Path) -> list[str]:
    """What its file `stat` has after its name, which may contain anything: state, parent, ..."""
    with contextlib.suppress(OSError):
        return (task / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def _wanted(task: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        running, waiting = (task / "schedstat").read_text().split()[:2]
        return (int(running) + int(waiting)) / 1e9
    return None
