"""Streams to a service at zero: what clients see while they wait, what waiting costs, and that none is lost."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway_parts import quantiles
from gateway_parts.routers import NAMESPACE, NginxGateway
from gateway_parts.stub import MODEL
from llmservice_operator.gateway.routes import ServedService
from overhead.load import request_bytes
from overhead.processes import rss_mib, tree
from overhead.servers import Fleet, free_port

STREAMS = 200
PROMPT_BYTES = 8192
HELD_SECONDS = 12.0
"""Longer than the ten seconds between two comments."""
COMMENT = b": waiting for a replica"
DONE = b"data: [DONE]\n\n"
LONGEST_SECONDS = 60.0


@dataclass
class Stream:
    """What the client of one stream saw."""

    began: float
    first: float = 0.0
    """The moment of its first comment."""
    comments: int = 0
    answer: bytes = b""
    ended: float = 0.0


def measure(fleet: Fleet, directory: Path, _: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Times to the first comment, memory of NGINX without and with the streams, and what came of each of them."""
    service = ServedService(NAMESPACE, "chat", 1, (MODEL,), False, scales_to_zero=True, asleep=True)
    gateway = NginxGateway(fleet, directory, service, [])
    found = asyncio.run(_run(gateway))
    say(f"held: {json.dumps(found)}")
    return found


async def _run(gateway: NginxGateway) -> dict[str, Any]:
    # Memory that workers need once, whatever comes.
    before = await _around(gateway, 1, 0.5)
    found = await _around(gateway, STREAMS, HELD_SECONDS)
    grown = found.pop("mib_while_held") - before["mib_while_held"]
    return {
        "streams": STREAMS,
        "prompt_bytes": PROMPT_BYTES,
        "held_seconds": HELD_SECONDS,
        **found,
        "nginx_mib_without": round(before["mib_while_held"], 1),
        "nginx_mib_more_while_held": round(grown, 1),
        "kib_of_a_stream": round(grown * 1024 / STREAMS, 1),
    }


async def _around(gateway: NginxGateway, count: int, seconds: float) -> dict[str, Any]:
    """So many streams are held for so long, then a replica appears."""
    gateway.route([])
    streams = [asyncio.create_task(_stream(gateway.port, number)) for number in range(count)]
    await asyncio.sleep(seconds)
    memory = sum(rss_mib(pid) for pid in tree(gateway.pid))
    waiting = sum(not each.done() for each in streams)
    got: Counter[str] = Counter()
    port = free_port()
    server = await asyncio.start_server(lambda reader, writer: _answer(reader, writer, got), "127.0.0.1", port)
    appeared = time.perf_counter()
    gateway.route([port])
    seen = await asyncio.gather(*streams)
    server.close()
    return {
        "waiting": waiting,
        "answered_once": sum(each.answer.count(_mark(number)) == 1 for number, each in enumerate(seen)),
        "sent_to_a_replica_once": sum(got[_mark(number).decode()] == 1 for number in range(count)),
        "sent_to_a_replica": sum(got.values()),
        "first_comment_p50_ms": quantiles.milliseconds(_firsts(seen), 0.5),
        "first_comment_max_ms": quantiles.milliseconds(_firsts(seen), 1.0),
        "fewest_comments": min(each.comments for each in seen),
        "answered_after_the_replica_max_ms": quantiles.milliseconds([each.ended - appeared for each in seen], 1.0),
        "mib_while_held": memory,
    }


def _firsts(seen: Sequence[Stream]) -> list[float]:
    return [each.first - each.began if each.first else float("inf") for each in seen]


def _mark(number: int) -> bytes:
    return b"<stream-%d>" % number


async def _stream(port: int, number: int) -> Stream:
    text = _mark(number).decode() + "the " * (PROMPT_BYTES // 4)
    body: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": text}], "stream": True}
    seen = Stream(time.perf_counter())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes(body, path="/v1/chat/completions", headers={"X-LLMService-Hold": "comments"}))
    data = b""
    async with asyncio.timeout(LONGEST_SECONDS):
        while DONE not in data and (more := await reader.read(65_536)):
            if not seen.first and COMMENT in data + more:
                seen.first = time.perf_counter()
            data += more
    writer.close()
    seen.comments, seen.answer, seen.ended = data.count(COMMENT), data, time.perf_counter()
    return seen


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Counter[str]) -> None:
    """A replica that says which stream it got."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    mark = body["messages"][0]["content"].partition(">")[0] + ">"
    got[mark] += 1
    event = json.dumps({"choices": [{"delta": {"content": mark}}]}).encode()
    data = b"data: " + event + b"\n\n" + DONE
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
        % (len(data), data)
    )
    await writer.drain()
    writer.close()
