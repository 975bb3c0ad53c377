"""Requests of a good client with and without hostile ones beside them, in turns."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import operator
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_parts import attacker, quantiles
from gateway_parts.client import Connection
from gateway_parts.model import Settings
from gateway_parts.routers import NAMESPACE, NginxGateway, stub_replicas
from gateway_parts.stub import BYTES_PER_TOKEN, MODEL
from llmservice_operator.gateway.routes import ServedService
from overhead.load import request_bytes
from overhead.servers import Fleet

PAIRS = 10
WINDOW_SECONDS = 4.0
SETTLE_SECONDS = 0.5
PAUSE_SECONDS = 0.001
PROMPT_BYTES = 8192


def measure(fleet: Fleet, directory: Path, _: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Times to the first token of the good client's requests, and what came of the others."""
    replicas = stub_replicas(fleet, 1, dataclasses.asdict(Settings()))
    # The hostile requests' own services are there, too: a request that should be refused could reach them.
    services = [ServedService(NAMESPACE, name, 1, (name,), False) for name in ("one", "two")]
    gateway = NginxGateway(
        fleet, directory, ServedService(NAMESPACE, "chat", 1, (MODEL,), False), replicas, others=services
    )
    body: dict[str, object] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "the " * (PROMPT_BYTES // 4)}],
        "stream": True,
        "max_tokens": 1,
    }
    request = request_bytes(body, path="/v1/chat/completions")
    command = [sys.executable, str(Path(attacker.__file__)), str(gateway.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            warm, quiet, busy = asyncio.run(_windows(gateway.port, request, lambda word: _tell(process, word)))
            _tell(process, "slow")
            outcome = json.loads(_tell(process, "end"))
        finally:
            process.kill()
    with urllib.request.urlopen(f"http://127.0.0.1:{replicas[0]}/statistics", timeout=30) as answer:
        tokens = json.load(answer)["prompt_tokens"]
    good = sum(map(len, [warm, *quiet, *busy]))
    ratio, low, high = quantiles.compared(busy, quiet, 0.99, operator.truediv)
    found = {
        "cases": attacker.CASES,
        "hostile_requests": sum(outcome["sent"].values()),
        "hostile_requests_per_second": attacker.PER_SECOND,
        "slow_connections": attacker.SLOW_CONNECTIONS,
        "kinds_sent": len(outcome["sent"]),
        "accepted": outcome["accepted"],
        "tokens_of_hostile_requests_that_reached_the_engine": tokens - good * (PROMPT_BYTES // BYTES_PER_TOKEN),
        "slow_ended_after_s": outcome["slow_ended"],
        "not_refused": len(outcome["accepted"]) + len(attacker.SLOW) - len(outcome["slow_ended"]),
        "pairs_of_windows": PAIRS,
        "window_seconds": WINDOW_SECONDS,
        "requests": good,
        "without": _figures(quiet),
        "beside_the_attack": _figures(busy),
        "p99_added_ms": round((_p99(busy) - _p99(quiet)) * 1000, 3),
        "p99_ratio": round(ratio, 4),
        "p99_ratio_95": [round(low, 4), round(high, 4)],
    }
    say(f"attacked: {json.dumps(found)}")
    return found


def _figures(windows: list[list[float]]) -> dict[str, float]:
    times = [each for window in windows for each in window]
    return {f"p{part}_ttft_ms": quantiles.milliseconds(times, part / 100) for part in (50, 90, 99)}


def _p99(windows: list[list[float]]) -> float:
    return quantiles.milliseconds((each for window in windows for each in window), 0.99) / 1000


def _tell(process: subprocess.Popen[str], word: str) -> str:
    """Gives the attacker a word; its answer."""
    assert process.stdin and process.stdout
    process.stdin.write(word + "\n")
    process.stdin.flush()
    return process.stdout.readline()


async def _windows(
    port: int, request: bytes, tell: Callable[[str], str]
) -> tuple[list[float], list[list[float]], list[list[float]]]:
    """Times before all, and those without and beside the attack, by window; which of these comes first alternates."""
    warm = await _one_window(port, request, 1.0)  # compiles what will be compiled
    found: dict[bool, list[list[float]]] = {False: [], True: []}
    for number in range(PAIRS):
        for hostile in (False, True) if number % 2 else (True, False):
            if hostile:
                tell("on")
            await asyncio.sleep(SETTLE_SECONDS)
            found[hostile].append(await _one_window(port, request, WINDOW_SECONDS))
            if hostile:
                tell("off")
    return warm, found[False], found[True]


async def _one_window(port: int, request: bytes, seconds: float) -> list[float]:
    times: list[float] = []
    connection = (await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port))[1]
    ends = time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends:
        times.append(await connection.ask(request) - began)
        await asyncio.sleep(PAUSE_SECONDS)
    connection.close()
    return times
