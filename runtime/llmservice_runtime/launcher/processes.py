"""Linux process functions for a parent that must leave no descendant behind.

As a subreaper this process adopts every orphan among its descendants, even if it is not PID 1, so it can find all of
them among its children, kill and reap them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Orphaned descendants become children of this process from now on."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """For a child before its exec: the kernel sends SIGTERM if the parent dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def exit_code(status: int) -> int:
    """The exit code of a wait status as in shells: 128 + N if signal N killed the process."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def reap() -> dict[int, int]:
    """Reaps all children that have exited; their wait statuses by pid."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def end_all_children(grace_seconds: float) -> None:
    """Ends every descendant with SIGTERM, and after `grace_seconds` with SIGKILL. Reaps all of them."""
    deadline = time.monotonic() + grace_seconds
    _signal_children(signal.SIGTERM)
    while _left() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    while _left():
        _signal_children(signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _left() -> list[int]:
    """Children that can't be reaped yet. A zombie among them still has threads and descendants."""
    reap()
    return _children()


def _signal_children(number: int) -> None:
    for pid in _children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _children() -> list[int]:
    """Children of this process, zombies among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(entry.name))
    return found
