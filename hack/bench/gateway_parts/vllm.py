"""Three real vLLM with a tiny model, one OpenMP thread each, behind the routers that need no time of their own.

They arrive about as fast as the replicas could answer them without any prefix cache, as a burst of cold prompts before
shows: requests queue where a router finds few prefixes.

Conversations of several turns, each of which has the turns before it as its prefix; the contexts are random token ids,
new ones for each router, so that no router finds what another one left in a cache.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway_parts import quantiles
from gateway_parts.client import send
from gateway_parts.routers import ROUTERS
from gateway_parts.stub import MODEL
from gateway_parts.workload import Request
from overhead.servers import Fleet, Server, make_model, runtime

WIDE = {"layers": 6, "heads": 8, "kv_heads": 4, "hidden": 512, "context": 4096, "steps": 0}
REPLICAS = 3
COMPARED = ("gateway", "service_kept", "round_robin", "least_conn")
CONVERSATIONS = 18
TURNS = 5
COLD = 18
"""Prompts of the burst."""
LOAD = 1.0
"""Requests a second by those of the burst."""
CONTEXT_TOKENS = (400, 1000)
TURN_TOKENS = 40
OUTPUT_TOKENS = 8
TOKEN_IDS = (10, 250)
PATH = "/v1/completions"
HITS, QUERIES = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"


def measure(fleet: Fleet, directory: Path, options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """The figures of each router."""
    model = make_model(directory / "model", **WIDE)
    caching = {"ENABLE_PREFIX_CACHING": "true"}
    servers = [runtime(fleet, f"vllm-{number}", model, caching) for number in range(REPLICAS)]
    ports = [fleet.ready(server).port for server in servers]
    for number, port in enumerate(ports):
        send(conversations(f"warm {number}", 1, 1, 1.0), [port], keep=False, path=PATH)
    cold = send(conversations("cold", COLD, 1, float("inf")), ports, keep=False, path=PATH)
    per_second = round(LOAD * COLD / cold.seconds, 3)
    say(f"vllm: {COLD} cold prompts in {cold.seconds:.1f} s; {per_second} requests a second from now on")
    found: dict[str, Any] = {
        "replicas": REPLICAS,
        "requests": CONVERSATIONS * TURNS,
        "cold_requests_per_second": round(COLD / cold.seconds, 3),
        "requests_per_second_sent": per_second,
        "context_tokens": CONTEXT_TOKENS,
        "tokens_of_a_turn": TURN_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "rounds": options.vllm_rounds,
        "routers": {},
    }
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in COMPARED}
    for number in range(options.vllm_rounds):
        order = COMPARED[number % len(COMPARED) :] + COMPARED[: number % len(COMPARED)]
        for name in order:
            router = ROUTERS[name](fleet, directory, ports)
            before = [counts(server) for server in servers]
            requests = conversations(f"{name} {number}", CONVERSATIONS, TURNS, per_second)
            seen = send(requests, router.ports, router.keep, seed=number, path=PATH)
            hits, queries = (
                sum(counts(server)[which] - was[which] for server, was in zip(servers, before, strict=True))
                for which in (HITS, QUERIES)
            )
            taken[name].append(
                {
                    "p50_ttft_ms": quantiles.milliseconds(seen.ttft, 0.5),
                    "p90_ttft_ms": quantiles.milliseconds(seen.ttft, 0.9),
                    "p99_ttft_ms": quantiles.milliseconds(seen.ttft, 0.99),
                    "hit_rate": round(hits / max(1.0, queries), 4),
                    "output_tokens_per_s": round(seen.output_tokens / seen.seconds, 3),
                    "failed": len(seen.failed),
                }
            )
            say(f"vllm, round {number + 1}, {name}: {json.dumps(taken[name][-1])} {seen.failed[:1]}")
    for name, rounds in taken.items():
        found["routers"][name] = {
            figure: round(statistics.median(each[figure] for each in rounds), 4) for figure in rounds[0]
        }
    return found


def conversations(seed: str, count: int, turns: int, per_second: float) -> Sequence[Request]:
    """The first turns of all, then the second ones, and so on, at random moments. Each router gets the same lengths and
    moments, with other tokens."""
    shape, chance = random.Random(0), random.Random(seed)

    def tokens(number: int) -> list[int]:
        return [chance.randint(*TOKEN_IDS) for _ in range(number)]

    texts = [tokens(shape.randint(*CONTEXT_TOKENS)) for _ in range(count)]
    at, found = 0.0, []
    for _ in range(turns):
        for number in shape.sample(range(count), count):
            at += shape.expovariate(1) / per_second
            body = {
                "model": MODEL,
                "prompt": texts[number],
                "stream": True,
                "max_tokens": OUTPUT_TOKENS,
                "ignore_eos": True,
            }
            found.append(Request(at, number % 4, OUTPUT_TOKENS, json.dumps(body).encode()))
            texts[number] = texts[number] + tokens(TURN_TOKENS)
    return found


def counts(server: Server) -> dict[str, float]:
    """Tokens that were looked up in the prefix cache, and those that were there."""
    found = {HITS: 0.0, QUERIES: 0.0}
    with urllib.request.urlopen(server.metrics_url, timeout=30) as page:
        for line in page.read().decode().splitlines():
            name = line.partition("{")[0]
            if name in found:
                found[name] += float(line.rpartition(" ")[2])
    return found
