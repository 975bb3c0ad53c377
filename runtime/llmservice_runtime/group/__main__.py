"""`python -m llmservice_runtime.group PLACE COMMAND…`: the agent's program, which `serve` becomes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from llmservice_runtime import launcher, processes
from llmservice_runtime.group.engine import Engine
from llmservice_runtime.group.follower import Follower
from llmservice_runtime.group.happenings import happen
from llmservice_runtime.group.leader import Leader
from llmservice_runtime.group.place import Place
from llmservice_runtime.group.probes import serve_probes


async def run(place: Place, command: Sequence[str]) -> int:
    """Serves `place` until its container has to end, and returns the exit code."""
    processes.become_subreaper()
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()
    engine = Engine(place, command)
    for number in launcher.STOP_SIGNALS:
        loop.add_signal_handler(number, happen, stop, number)
    loop.add_signal_handler(signal.SIGCHLD, engine.reap)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, launcher.STOP_SIGNALS)
    rank = Follower(place, engine, stop) if place.rank else Leader(place, engine, stop)
    probes = await serve_probes(place.ports.probe, rank.health, rank.ready)
    try:
        return await rank.run()
    finally:
        probes.close()


if __name__ == "__main__":
    code = asyncio.new_event_loop().run_until_complete(run(Place.from_json(sys.argv[1]), sys.argv[2:]))
    # Without waiting for threads: one may still ask for the address of rank 0.
    os._exit(code)
