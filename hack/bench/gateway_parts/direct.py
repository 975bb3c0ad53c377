"""One replica with and without the gateway in front of it: what the gateway costs."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway_parts import quantiles
from gateway_parts.client import Connection
from gateway_parts.model import Settings
from gateway_parts.routers import gateway, nginx_round_robin, stub_replicas
from gateway_parts.stub import MODEL
from overhead.load import request_bytes, run_load
from overhead.servers import Fleet

PROMPT_BYTES = 8192
ALONE = 300
"""Requests of a round for each, one after the other."""
STREAMS = 64
STREAM_TOKENS = 128
STREAM_SECONDS = 4.0
DIRECT, AGAIN, NGINX, GATEWAY = "direct", "direct_again", "nginx", "gateway"
NAMES = (DIRECT, AGAIN, NGINX, GATEWAY)


def measure(fleet: Fleet, directory: Path, options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Times to the first token of requests one after the other, each in turn with and without the gateway, and tokens/s
    of many streams at a time; medians of the rounds. The difference between the two direct ones is the machine's part,
    that of NGINX without Lua is what each proxy costs here."""
    replicas = stub_replicas(fleet, 1, dataclasses.asdict(Settings()))
    proxy, through = (make(fleet, directory, replicas).ports[0] for make in (nginx_round_robin, gateway))
    ports = {DIRECT: replicas[0], AGAIN: replicas[0], NGINX: proxy, GATEWAY: through}
    prompt = "the " * (PROMPT_BYTES // 4)
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    for number in range(options.direct_rounds):
        times = asyncio.run(_in_turns(ports, _request(prompt, 1)))
        first = number % len(NAMES)
        for name in NAMES[first:] + NAMES[:first]:
            many = run_load(ports[name], _request(prompt, STREAM_TOKENS), streams=STREAMS, seconds=STREAM_SECONDS)
            taken[name].append(
                {
                    "p50_ttft_ms": quantiles.milliseconds(times[name], 0.5),
                    "p99_ttft_ms": quantiles.milliseconds(times[name], 0.99),
                    "output_tokens_per_s": many.requests * STREAM_TOKENS / many.seconds,
                }
            )
            say(f"direct, round {number + 1}, {name}: {json.dumps(taken[name][-1])}")
    found: dict[str, Any] = {
        "rounds": options.direct_rounds,
        "requests_of_a_round": ALONE,
        "prompt_bytes": PROMPT_BYTES,
        "streams": STREAMS,
        "output_tokens_of_streams": STREAM_TOKENS,
    }
    for name in NAMES:
        found[name] = {figure: round(_median(each[figure] for each in taken[name]), 3) for figure in taken[name][0]}
    for name in NAMES[1:]:
        pairs = list(zip(taken[name], taken[DIRECT], strict=True))
        added = [round(mine["p99_ttft_ms"] - bare["p99_ttft_ms"], 3) for mine, bare in pairs]
        found[name] |= {
            "p50_ttft_added_ms": round(_median(mine["p50_ttft_ms"] - bare["p50_ttft_ms"] for mine, bare in pairs), 3),
            "p99_ttft_added_ms": round(_median(added), 3),
            "p99_ttft_added_ms_of_rounds": added,
            "throughput_ratio": round(
                _median(mine["output_tokens_per_s"] / bare["output_tokens_per_s"] for mine, bare in pairs), 4
            ),
        }
    return found


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


async def _in_turns(ports: Mapping[str, int], request: bytes) -> dict[str, list[float]]:
    """Each request to each in turn, so that what else happens on the machine happens to all of them."""
    loop, taken = asyncio.get_running_loop(), {name: list[float]() for name in ports}
    connections = {
        name: (await loop.create_connection(Connection, "127.0.0.1", port))[1] for name, port in ports.items()
    }
    names = list(ports)
    for number in range(ALONE):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            began = time.perf_counter()
            taken[name].append(await connections[name].ask(request) - began)
    for connection in connections.values():
        connection.close()
    return taken


def _request(prompt: str, tokens: int) -> bytes:
    body: dict[str, object] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "max_tokens": tokens,
    }
    return request_bytes(body, path="/v1/chat/completions")
