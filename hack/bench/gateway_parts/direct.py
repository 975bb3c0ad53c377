"""One replica with and without the gateway in front of it: what the gateway costs."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import operator
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway_parts import quantiles
from gateway_parts.client import Connection
from gateway_parts.model import Settings
from gateway_parts.routers import gateway, nginx_round_robin, stub_replicas
from gateway_parts.stub import MODEL
from overhead.load import request_bytes, run_load
from overhead.processes import cpu_seconds, tree
from overhead.servers import Fleet

PROMPT_BYTES = 8192
BLOCK = 100
"""Turns that are resampled together."""
PAUSE_SECONDS = 0.001
"""Between two requests, so that the machine never runs at its limit."""
FAST = Settings(step_seconds=0.002, prefill_tokens_per_second=2_000_000.0)
"""The engine of these requests: the shorter its own time is, the more of them fit into a minute."""
STREAMS = 64
STREAM_TOKENS = 128
STREAM_SECONDS = 4.0
STREAM_ROUNDS = 4
DIRECT, AGAIN, NGINX, GATEWAY = "direct", "direct_again", "nginx", "gateway"
NAMES = (DIRECT, AGAIN, NGINX, GATEWAY)


def measure(fleet: Fleet, directory: Path, options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Times to the first token of requests one after the other, each in turn with and without the gateway; tokens/s of
    many streams at a time; CPU time of NGINX. The difference between the two direct ones is the machine's part, that of
    NGINX without Lua is what each proxy costs here."""
    fast = stub_replicas(fleet, 1, dataclasses.asdict(FAST))
    proxy, through = (make(fleet, directory, fast).ports[0] for make in (nginx_round_robin, gateway))
    ports = {DIRECT: fast[0], AGAIN: fast[0], NGINX: proxy, GATEWAY: through}
    pids = dict(zip((NGINX, GATEWAY), fleet.pids()[-2:], strict=True))
    prompt = "the " * (PROMPT_BYTES // 4)
    asyncio.run(_in_turns(ports, _request(prompt, 1), 2 * BLOCK))  # compiles what will be compiled
    used = {name: cpu_seconds(tree(pid)) for name, pid in pids.items()}
    times = asyncio.run(_in_turns(ports, _request(prompt, 1), options.turns))
    found: dict[str, Any] = {
        "turns": options.turns,
        "prompt_bytes": PROMPT_BYTES,
        "seconds_between_requests": PAUSE_SECONDS,
        "turns_resampled_together": BLOCK,
    }
    for name in NAMES:
        found[name] = {f"p{part}_ttft_ms": quantiles.milliseconds(times[name], part / 100) for part in (50, 90, 99)}
    for name in NAMES[1:]:
        for part in (50, 99):
            added, low, high = quantiles.compared(
                _blocks(times[name]), _blocks(times[DIRECT]), part / 100, operator.sub
            )
            found[name][f"p{part}_ttft_added_ms"] = round(added * 1000, 3)
            found[name][f"p{part}_ttft_added_ms_95"] = [round(low * 1000, 3), round(high * 1000, 3)]
    for name, pid in pids.items():
        found[name]["cpu_us_of_a_request"] = round((cpu_seconds(tree(pid)) - used[name]) / options.turns * 1e6, 1)
    say(f"direct, one at a time: { ({name: found[name] for name in NAMES}) }")
    return found | _streams(fleet, directory, prompt, found, say)


def _streams(
    fleet: Fleet, directory: Path, prompt: str, found: Mapping[str, dict[str, Any]], say: Callable[[str], None]
) -> dict[str, Any]:
    """Adds tokens/s of many streams to what was found of each."""
    replicas = stub_replicas(fleet, 1, dataclasses.asdict(Settings()))
    ports = {DIRECT: replicas[0], AGAIN: replicas[0], GATEWAY: gateway(fleet, directory, replicas).ports[0]}
    taken: dict[str, list[float]] = {name: [] for name in ports}
    for number in range(STREAM_ROUNDS):
        for name in list(ports)[:: -1 if number % 2 else 1]:
            many = run_load(ports[name], _request(prompt, STREAM_TOKENS), streams=STREAMS, seconds=STREAM_SECONDS)
            taken[name].append(many.requests * STREAM_TOKENS / many.seconds)
    say(f"direct, {STREAMS} streams: {taken}")
    for name, rates in taken.items():
        found[name]["output_tokens_per_s"] = round(statistics.median(rates), 1)
        ratios = [rate / bare for rate, bare in zip(rates, taken[DIRECT], strict=True)]
        found[name]["throughput_ratio"] = round(statistics.median(ratios), 4)
    return {
        "streams": STREAMS,
        "output_tokens_of_streams": STREAM_TOKENS,
        "rounds_of_streams": STREAM_ROUNDS,
    }


def _blocks(times: Sequence[float]) -> list[Sequence[float]]:
    return [times[start : start + BLOCK] for start in range(0, len(times), BLOCK)]


async def _in_turns(ports: Mapping[str, int], request: bytes, turns: int) -> dict[str, list[float]]:
    """Each request to each in turn, so that what else happens on the machine happens to all of them."""
    loop, taken = asyncio.get_running_loop(), {name: list[float]() for name in ports}
    connections: dict[str, Connection] = {}
    names = list(ports)
    for number in range(turns):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if name not in connections or connections[name].closed:
                connections[name] = (await loop.create_connection(Connection, "127.0.0.1", ports[name]))[1]
            await asyncio.sleep(PAUSE_SECONDS)
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
