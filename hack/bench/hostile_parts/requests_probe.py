"""A process that requests /health continuously on new connections, as the kubelet does, and sometimes a completion with
another client's key. It is separate, so the attacker's process does not delay it.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from hostile_parts.requests_http import Server

HEALTH_SECONDS = 0.025
CLIENT_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
CLIENT_PATIENCE_SECONDS = 10.0
PROMPT, TOKENS = "The quick brown fox", 4


@dataclass
class Seen:
    """What was seen since the question before."""

    health: list[float] = field(default_factory=list)
    """Seconds until each answer of /health; PATIENCE_SECONDS if none came."""
    unhealthy: int = 0
    """Answers that were none or not 200."""
    answered: list[float] = field(default_factory=list)
    """Seconds until each answer to the other client."""
    failed: list[int] = field(default_factory=list)
    """Statuses that it got instead."""
    tokens: list[tuple[float, int]] = field(default_factory=list)
    """When it got how many tokens, prompts included."""


class Probe:
    """The process. ``seen`` gives what was seen since it was asked before."""

    def __init__(self, connection: multiprocessing.connection.Connection) -> None:
        self._connection = connection

    def seen(self) -> Seen:
        """Everything since the last question."""
        self._connection.send("seen")
        found = self._connection.recv()
        assert isinstance(found, Seen)
        return found


@contextlib.contextmanager
def probing(port: int, key: str) -> Iterator[Probe]:
    """A probe of this server; its client has this key."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_main, args=(there, port, key), daemon=True)
    process.start()
    try:
        yield Probe(here)
    finally:
        process.kill()
        process.join()


def _main(connection: multiprocessing.connection.Connection, port: int, key: str) -> None:
    # A processor as soon as it wakes: what it measures is the server's time, not its own wait beside the attackers.
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    asyncio.run(_probe(connection, Server(port, key)))


async def _probe(connection: multiprocessing.connection.Connection, server: Server) -> None:
    now = Seen()

    async def ask_health() -> None:
        began = time.monotonic()
        found = await server.send(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", PATIENCE_SECONDS)
        now.health.append(time.monotonic() - began if found.status else PATIENCE_SECONDS)
        now.unhealthy += found.status != 200

    async def ask() -> None:
        began = time.monotonic()
        body = {"model": "tiny", "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
        found = await server.post("/v1/completions", body, CLIENT_PATIENCE_SECONDS)
        if found.status == 200:
            ended = time.monotonic()
            now.answered.append(ended - began)
            now.tokens.append((ended, int(found.json()["usage"]["total_tokens"])))
        else:
            now.failed.append(found.status)

    async def every(seconds: float, what: object) -> None:
        running: set[asyncio.Task[None]] = set()
        while True:
            task = asyncio.create_task(what())  # type: ignore[operator]
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(seconds)

    asked = asyncio.Event()
    asyncio.get_running_loop().add_reader(connection.fileno(), asked.set)
    tasks = [asyncio.create_task(every(HEALTH_SECONDS, ask_health)), asyncio.create_task(every(CLIENT_SECONDS, ask))]
    while tasks:
        await asked.wait()
        asked.clear()
        if connection.poll():
            connection.recv()
            found, now = now, Seen()
            connection.send(found)
