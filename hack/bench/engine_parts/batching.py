"""Continuous batching: the same load on an engine that batches sequences, and on one that does not."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from overhead.load import request_bytes, run_load
from overhead.pairs import paired, ratio, summary
from overhead.servers import Fleet, Server, runtime

STREAMS, TOKENS = 64, 32
PROMPT = "The above copyright notice and this permission notice"
ONE, MANY = "one", "many"
SEQUENCES = {ONE: 1, MANY: STREAMS}


def measure(fleet: Fleet, model: Path, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Both are asked in turns; the ratio is that of each round."""
    started = [runtime(fleet, name, model, {"MAX_BATCH_SIZE": str(size)}) for name, size in SEQUENCES.items()]
    servers = [fleet.ready(server) for server in started]
    for server in servers:
        run_load(server.port, request(server, 2), STREAMS, each=1)
    taken = []
    for number in range(rounds):
        taken.append({server.name: tokens_per_second(server) for server in servers})
        say(f"batching, round {number + 1} of {rounds}")
    return assemble(taken)


def request(server: Server, tokens: int) -> bytes:
    body = {"model": server.model, "prompt": PROMPT, "max_tokens": tokens, "stream": True}
    return request_bytes(body | {"ignore_eos": True, "temperature": 0})


def tokens_per_second(server: Server) -> float:
    """64 users at once, one answer each."""
    outcome = run_load(server.port, request(server, TOKENS), STREAMS, each=1)
    return outcome.requests * TOKENS / outcome.seconds


def assemble(taken: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of the rounds."""
    speeds = {str(SEQUENCES[name]): round(statistics.median(each[name] for each in taken), 1) for name in SEQUENCES}
    return {
        "streams": STREAMS,
        "tokens_of_each": TOKENS,
        "tokens_per_s_by_max_num_seqs": speeds,
        "ratio": summary([paired(taken, MANY, [ONE], ratio)]),
    }
