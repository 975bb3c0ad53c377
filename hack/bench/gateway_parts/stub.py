#!/usr/bin/env python3
"""Replicas of a modelled engine in one process, each at a port of its own.

They speak HTTP/1.1 with persistent connections and stream chat completions. A prompt's tokens are counted by its
length; its cached ones are found in the prompt itself, so that what a router sends decides the hit rate. An answer has
an event for its first token and one for each 32 tokens, as with vLLM's --stream-interval.

    stub.py '{"ports": [8000, 8001], "engine": {"cache_blocks": 1500}}'

GET /statistics has the counts of a replica, POST /clear empties its cache and counts.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway_parts.model import BLOCK_TOKENS, Engine, Job, Settings

BYTES_PER_TOKEN = 4
BLOCK_BYTES = BLOCK_TOKENS * BYTES_PER_TOKEN
EVENT_TOKENS = 32
MODEL = "tiny"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


def job_of(prompt: str, output_tokens: int) -> Job:
    """What the engine has to do for a prompt. A block's hash covers the text before it, as vLLM's does."""
    blocks, before = [], 0
    for start in range(0, len(prompt) - BLOCK_BYTES + 1, BLOCK_BYTES):
        before = hash((before, prompt[start : start + BLOCK_BYTES]))
        blocks.append(before)
    return Job(blocks, max(1, -(-len(prompt) // BYTES_PER_TOKEN)), output_tokens)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(delta: dict[str, str], finish: str | None = None, usage: dict[str, Any] | None = None) -> bytes:
    body = {
        "id": "chatcmpl-9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d",
        "object": "chat.completion.chunk",
        "created": 1795630000,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    } | ({"usage": usage} if usage else {})
    return _chunk(b"data: " + json.dumps(body).encode() + b"\n\n")


_FIRST = _event({"role": "assistant", "content": " the"})
_MORE = _event({"content": " the" * EVENT_TOKENS})
_DONE = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Replica:
    """An engine that runs, and the connections of its clients."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = Engine(settings)
        self._clients: dict[Job, _Connection] = {}
        self._work = asyncio.Event()
        self._late: list[float] = []
        self._most = 0

    async def run(self) -> None:
        """Steps for ever. A step begins when the one before should have ended, so that delays do not add up."""
        clock, sleep = time.perf_counter, asyncio.sleep
        now = clock()
        while True:
            seconds = self._engine.step()
            if seconds is None:
                self._work.clear()
                await self._work.wait()
                now = clock()
                continue
            now += seconds
            await sleep(max(0.0, now - clock()))
            self._late.append(clock() - now)
            produced = self._engine.finish()
            self._most = max(self._most, len(produced.generated))
            for job in produced.generated:
                if job.generated == 1:
                    self._clients[job].send(_HEAD + _FIRST)
                elif job.generated % EVENT_TOKENS == 1:
                    self._clients[job].send(_MORE)
            for job in produced.finished:
                counts = {"prompt_tokens": job.prompt_tokens, "completion_tokens": job.generated}
                usage = counts | {"total_tokens": sum(counts.values())}
                self._clients.pop(job).send(_event({"content": " the"}, "length", usage) + _DONE)

    def begin(self, connection: _Connection, body: bytes) -> Job:
        """Takes a request."""
        request = json.loads(body)
        content = "".join(str(message["content"]) for message in request["messages"])
        job = job_of(content, int(request["max_tokens"]))
        self._clients[job] = connection
        self._engine.add(job)
        self._work.set()
        return job

    def drop(self, job: Job) -> None:
        """Forgets a request whose client has gone."""
        if self._clients.pop(job, None):
            self._engine.drop(job)

    def statistics(self) -> dict[str, float]:
        """Counts since the cache was cleared, and by how much the steps ended too late: the machine's part."""
        late = sorted(self._late) or [0.0]
        return {
            "prompt_tokens": self._engine.prompt_tokens,
            "cached_tokens": self._engine.cached_tokens,
            "most_generating": self._most,
            "steps": len(self._late),
            "late_p99_ms": round(late[int(0.99 * (len(late) - 1))] * 1000, 3),
        }

    def clear(self) -> None:
        """Forgets everything; nothing may be running."""
        assert not self._clients, "requests are running"
        self._engine = Engine(self._settings)
        self._late, self._most = [], 0


class _Connection(asyncio.Protocol):
    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._data = bytearray()
        self._length: int | None = None
        self._line = b""
        self._job: Job | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, _: Exception | None) -> None:
        if self._job:
            self._replica.drop(self._job)

    def send(self, data: bytes) -> None:
        """Sends a part of an answer."""
        assert self._transport is not None
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            if self._length is None:
                end = self._data.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self._data[:end])
                del self._data[: end + 4]
                self._line = head.split(b"\r\n", 1)[0]
                lower = head.lower()
                at = lower.find(b"\r\ncontent-length:")
                self._length = int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
                if b"\r\ntransfer-encoding: chunked" in lower:
                    raise ValueError("a chunked request")
            if len(self._data) < self._length:
                return
            body = bytes(self._data[: self._length])
            del self._data[: self._length]
            self._length = None
            self._receive(body)

    def _receive(self, body: bytes) -> None:
        path = self._line.split(b" ")[1].split(b"?")[0]
        if path == b"/v1/chat/completions":
            self._job = self._replica.begin(self, body)
        elif path == b"/statistics":
            self._answer(self._replica.statistics())
        elif path == b"/clear":
            self._replica.clear()
            self._answer({})
        elif path == b"/v1/models":
            self._answer({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "stub"}]})
        elif path == b"/health":
            self._answer({"status": "ok"})
        else:
            self._answer({"error": "no such path"}, b"404 Not Found")

    def _answer(self, answer: object, status: bytes = b"200 OK") -> None:
        data = json.dumps(answer).encode()
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(data))
        self.send(head if self._line.startswith(b"HEAD ") else head + data)


async def serve(ports: Sequence[int], settings: Settings) -> None:
    """Serves until the process ends."""
    loop = asyncio.get_running_loop()
    replicas = [Replica(settings) for _ in ports]
    for replica, port in zip(replicas, ports, strict=True):
        await loop.create_server(lambda replica=replica: _Connection(replica), "127.0.0.1", port, backlog=4096)  # type: ignore[misc]
    gc.collect()
    gc.freeze()
    await asyncio.gather(*(replica.run() for replica in replicas))


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    uvloop.run(serve(options["ports"], Settings(**options["engine"])))
