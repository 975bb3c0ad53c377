#!/usr/bin/env python3
"""Hostile clients in a process of their own. Reads `on`, `off`, `slow` and `end` from its standard input.

Between `on` and `off` cases are sent at a steady rate, each on a connection of its own, beside slow connections that
stay open. `slow` waits until the gateway has ended one connection of each slow kind. At `end` it prints what came of
all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[3] / "tests")]

from overhead.load import request_bytes
from support.hostile_http import CHAT, hostile_requests

CASES = 50
PER_SECOND = 100
SLOW_CONNECTIONS = 100
READ_SECONDS = 2.0
SLOWEST_SECONDS = 30.0
MIB = 2**20
LONG = request_bytes({"model": "tiny", "messages": [], "x": "x" * 4096}, path=CHAT)
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"

Drip = Callable[[], AsyncIterator[bytes]]


async def _bytes(text: bytes) -> AsyncIterator[bytes]:
    for number in range(len(text)):
        yield text[number : number + 1]
        await asyncio.sleep(1)


async def _nothing() -> AsyncIterator[bytes]:
    while True:
        yield b""
        await asyncio.sleep(1)


async def _headers() -> AsyncIterator[bytes]:
    yield HEAD
    for number in range(1000):
        yield b"X-%d: a\r\n" % number
        await asyncio.sleep(1)


async def _body() -> AsyncIterator[bytes]:
    yield HEAD + b"Content-Length: 100000\r\n\r\n"
    async for part in _bytes(b"{" * 1000):
        yield part


async def _chunks() -> AsyncIterator[bytes]:
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(1000):
        yield b"1\r\n{\r\n"
        await asyncio.sleep(1)


SLOW: Mapping[str, Drip] = {
    "slow: a head, byte by byte": lambda: _bytes(LONG),
    "slow: nothing": _nothing,
    "slow: headers without end": _headers,
    "slow: a body, byte by byte": _body,
    "slow: chunks of a byte": _chunks,
}


def _oversized() -> dict[str, bytes]:
    chunk = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB)
    return {
        "oversized: length of 33 MiB": HEAD + b"Content-Length: %d\r\n\r\n" % (33 * MIB),
        "oversized: length of 1 TiB": HEAD + b"Content-Length: %d\r\n\r\n" % 2**40,
        "oversized: chunks of 33 MiB": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + 33 * chunk + b"0\r\n\r\n",
        "oversized: request line of 17 KiB": b"POST /v1/" + b"x" * 17 * 1024 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        "oversized: head of 80 KiB": HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(10)) + b"\r\n",
    }


def cases() -> dict[str, bytes]:
    """Those that are sent at once: oversized ones, and others that are refused, from all groups."""
    smuggling = {name: case.sent for name, case in hostile_requests().items() if not case.reached}
    found, names = _oversized(), list(smuggling)
    left = CASES - len(SLOW) - len(found)
    return found | {name: smuggling[name] for name in (names[n * len(names) // left] for n in range(left))}


class Attack:
    """What is sent, and what came of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sent: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        """Answers of success."""
        self.ended: dict[str, float] = {}
        """Seconds until the gateway ended a slow connection."""
        self._running: set[asyncio.Task[object]] = set()

    def begin(self) -> None:
        """Starts to send."""
        self._start(self._send_all())
        for number in range(SLOW_CONNECTIONS):
            self._start(self._drip(list(SLOW.values())[number % len(SLOW)]))

    async def stop(self) -> None:
        """Ends all connections."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def wait_for_slow_ones(self) -> None:
        """One of each slow kind, until the gateway ends it."""

        async def one(name: str) -> None:
            began = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLOWEST_SECONDS):
                    if not await self._drip(SLOW[name]):
                        self.ended[name] = round(time.monotonic() - began, 1)

        await asyncio.gather(*(one(name) for name in SLOW))

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _send_all(self) -> None:
        everything, number = list(cases().items()), sum(self.sent.values())
        began = time.monotonic()
        while True:
            name, sent = everything[number % len(everything)]
            self._start(self._one(name, sent))
            number += 1
            began += 1 / PER_SECOND
            await asyncio.sleep(began - time.monotonic())

    async def _one(self, name: str, sent: bytes) -> None:
        self.sent[name] += 1
        received = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(READ_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(sent)
                    while data := await reader.read(65_536):
                        received += data
                finally:
                    writer.transport.abort()
        if b"HTTP/1.1 200" in received:
            self.accepted[name] += 1

    async def _drip(self, parts: Drip) -> bool:
        """Sends them until the gateway ends the connection; whether it answered with success."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        answer = asyncio.ensure_future(reader.read())
        try:
            async for part in parts():
                if answer.done() or writer.is_closing():
                    break
                with contextlib.suppress(OSError):
                    writer.write(part)
            return b"HTTP/1.1 200" in await answer
        except OSError:
            return False
        finally:
            answer.cancel()
            writer.transport.abort()


async def main(port: int) -> None:
    """Obeys its standard input."""
    attack, loop = Attack(port), asyncio.get_running_loop()
    while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if word == "on":
            attack.begin()
        elif word == "off":
            await attack.stop()
        elif word == "slow":
            await attack.wait_for_slow_ones()
        elif word == "end":
            print(
                json.dumps({"sent": attack.sent, "accepted": attack.accepted, "slow_ended": attack.ended}), flush=True
            )
            return
        print("done", flush=True)


if __name__ == "__main__":
    # An attacker is elsewhere: it has only what this machine's processors have left.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    asyncio.run(main(int(sys.argv[1])))
