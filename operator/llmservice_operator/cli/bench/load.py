"""An open loop: requests arrive at given times and do not wait for each other, up to a limit in flight.

Each request has a thread of its own, which ends with the process. So Ctrl-C ends the load at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from llmservice_operator.cli.bench.figures import Sample

SLOW_CPU_SHARE = 0.8
"""Above this share of one core this program, which runs Python on one core at a time, delays what it measures."""
SLOW_START_SECONDS = 0.1
"""A request that starts this late was delayed by this machine."""

Send = Callable[[Sample], None]
"""Sends one request, and adds its answer or its error to the sample."""


def run(requests: Iterable[tuple[float, Send]], sample: Sample, most: int, grace: float) -> None:
    """Send each request at its time, in seconds from now. After the last one, answers have ``grace`` seconds."""
    threads = list[threading.Thread]()
    began, cpu, latest = time.perf_counter(), time.process_time(), 0.0
    for at, send in requests:
        late = time.perf_counter() - began - at
        if late < 0:
            time.sleep(-late)
        latest = max(latest, late)
        threads = [each for each in threads if each.is_alive()]
        if len(threads) >= most:
            sample.not_sent += 1
            continue
        thread = threading.Thread(target=send, args=(sample,), daemon=True)
        thread.start()
        threads.append(thread)
    end = time.perf_counter() + grace
    for thread in threads:
        thread.join(max(0.0, end - time.perf_counter()))
    seconds = time.perf_counter() - began
    sample.end(seconds, sum(each.is_alive() for each in threads))
    used = (time.process_time() - cpu) / seconds if seconds else 0.0
    sample.is_client_limited = used > SLOW_CPU_SHARE or latest > SLOW_START_SECONDS
