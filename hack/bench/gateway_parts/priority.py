"""A benchmark with a higher priority than what else runs on the machine, if it may have that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

REAL_TIME = "real time (SCHED_RR), for clients, engines and routers alike"
NORMAL = "normal"


@contextlib.contextmanager
def taken(wanted: bool) -> Iterator[str]:
    """This process and those that it starts go before all others; yields which priority they have.

    Both sides of a comparison have the same one, so it takes away what other work on the machine adds to both.
    """
    if not wanted:
        yield NORMAL
        return
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield NORMAL
        return
    try:
        yield REAL_TIME
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
