"""`python -m llmservice_runtime.multi_node CONFIG COMMAND…`: the agent, which replaces `serve`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from llmservice_runtime.launcher import launcher, processes
from llmservice_runtime.multi_node.engine_process import Engine
from llmservice_runtime.multi_node.futures import resolve_once
from llmservice_runtime.multi_node.leader import Leader
from llmservice_runtime.multi_node.probe_server import serve_probes
from llmservice_runtime.multi_node.rank_config import RankConfig
from llmservice_runtime.multi_node.worker import Worker


async def run(place: RankConfig, command: Sequence[str]) -> int:
    """Runs the agent until its container must exit, and returns the exit code."""
    processes.become_subreaper()
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()
    engine = Engine(place, command)
    for number in launcher.STOP_SIGNALS:
        loop.add_signal_handler(number, resolve_once, stop, number)
    loop.add_signal_handler(signal.SIGCHLD, engine.reap)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, launcher.STOP_SIGNALS)
    rank = Worker(place, engine, stop) if place.rank else Leader(place, engine, stop)
    probes = await serve_probes(place.ports.probe, rank.health, rank.ready)
    try:
        return await rank.run()
    finally:
        probes.close()


if __name__ == "__main__":
    code = asyncio.new_event_loop().run_until_complete(run(RankConfig.from_json(sys.argv[1]), sys.argv[2:]))
    # Without waiting for threads: one may still resolve the address of rank 0.
    os._exit(code)
