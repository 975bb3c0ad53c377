"""One measurement of one server: a load, its CPU time, and the figures of both."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence

from overhead.load import Outcome, request_bytes, run_busy, run_load
from overhead.pairs import order, percentile
from overhead.processes import cpu_seconds
from overhead.servers import Server

STREAMS = 64
PROMPT = "The above copyright notice and this permission notice"
ENGINE_TOKENS, ENGINE_ROUNDS = 128, 6
"""Of each answer, of each stream in one look at a real engine, and after each start. Half of the answers in a public
trace of conversations are longer than 350 tokens. The front costs by the request, so short answers show more of it."""
STEADY_TOKENS, SETTLE_SECONDS, STEADY_SECONDS = (64, 192), 6.0, 12.0
"""Streams that go on asking: the lengths of their answers, spread evenly, as streams that go in step ask all at once
each time; what passes before the look, and the look."""
FULL_LENGTH = {"ignore_eos": True, "temperature": 0}
"""An answer has as many tokens as are asked for, and takes no chance."""
SHORT_TOKENS, SHORT_REQUESTS = 1, 12
FULL_TOKENS, FULL_REQUESTS = 64, 3
ENDLESS_TOKENS, ENDLESS_SECONDS = 10**7, 2.0
PACED_TOKENS, PACED_REQUESTS, PACE_SECONDS = 64, 4, 0.02
"""Streams at the pace of an engine that is not late, begun one after the other: what their first tokens take is the
server's own time, and not that of a herd that asks at once."""

SLOW, SLOW_ROUNDS = "litellm", 2
"""A proxy that goes on reading a stream whose client has left gets no endless ones, and few requests."""

Figures = Mapping[str, float]


def engine(server: Server, each: int = 1) -> Figures:
    """A real engine with 64 streams at once: tokens a second, and the p99 of the time to the first."""
    outcome, cpu = _load(server, ENGINE_TOKENS, each=each, **FULL_LENGTH)
    return {
        "tokens_per_s": outcome.requests * ENGINE_TOKENS / outcome.seconds,
        "p99_ttft_ms": percentile(outcome.ttft, 0.99) * 1000,
        "cpu_us_per_token": cpu / (outcome.requests * ENGINE_TOKENS) * 1e6,
    }


def steady(server: Server) -> Figures:
    """A real engine that 64 streams keep busy: tokens a second by its own count, and what first tokens take."""
    first, last = STEADY_TOKENS
    lengths = [first + (last - first) * number // (STREAMS - 1) for number in range(STREAMS)]
    requests = [_ask(server, tokens, **FULL_LENGTH) for tokens in lengths]
    pids = server.pids

    def look() -> tuple[float, float, float]:
        return time.perf_counter(), _generated(server), cpu_seconds(pids)

    outcome, before, after = run_busy(server.port, requests, SETTLE_SECONDS, STEADY_SECONDS, look)
    seconds, tokens, cpu = (late - early for early, late in zip(before, after, strict=True))
    return {
        "tokens_per_s": tokens / seconds,
        "p99_ttft_ms": percentile(outcome.ttft, 0.99) * 1000,
        "p50_ttft_ms": percentile(outcome.ttft, 0.5) * 1000,
        "cpu_us_per_token": cpu / tokens * 1e6,
    }


def _generated(server: Server) -> float:
    """Tokens that its engine has made since it began."""
    asked = urllib.request.Request(server.metrics_url, headers=dict(server.headers))
    with urllib.request.urlopen(asked, timeout=60) as page:
        counts = re.findall(r"^vllm:generation_tokens_total{.*} (.+)$", page.read().decode(), re.MULTILINE)
    return sum(map(float, counts))


def stub(server: Server) -> Figures:
    """The stub with 64 streams at once, in four ways: each shows one thing."""
    if server.name == SLOW:
        return _slow_stub(server)
    endless, endless_cpu = _load(server, ENDLESS_TOKENS, seconds=ENDLESS_SECONDS)
    short, short_cpu = _load(server, SHORT_TOKENS, each=SHORT_REQUESTS)
    full, _ = _load(server, FULL_TOKENS, each=FULL_REQUESTS)
    paced = _paced(server, PACED_REQUESTS)
    return {
        "us_per_chunk": endless_cpu / endless.chunks * 1e6,
        "us_per_request": short_cpu / short.requests * 1e6,
        "tokens_per_s": full.requests * FULL_TOKENS / full.seconds,
        "p99_ttft_ms": percentile(paced.ttft, 0.99) * 1000,
        "p50_ttft_ms": percentile(paced.ttft, 0.5) * 1000,
    }


def _slow_stub(server: Server) -> Figures:
    """The same of few requests: a chunk's cost is what a full answer takes more than a short one."""
    _, short_cpu = _load(server, SHORT_TOKENS, each=1)
    full, full_cpu = _load(server, FULL_TOKENS, each=1)
    paced = _paced(server, 1)
    return {
        "us_per_chunk": (full_cpu - short_cpu) / (STREAMS * (FULL_TOKENS - SHORT_TOKENS)) * 1e6,
        "us_per_request": short_cpu / STREAMS * 1e6,
        "tokens_per_s": full.requests * FULL_TOKENS / full.seconds,
        "p99_ttft_ms": percentile(paced.ttft, 0.99) * 1000,
        "p50_ttft_ms": percentile(paced.ttft, 0.5) * 1000,
    }


def rounds(
    servers: Sequence[Server], look: Callable[[Server], Figures], count: int, say: Callable[[str], None]
) -> list[dict[str, Figures]]:
    """The figures of all servers in each round, after one that does not count; the slow one is in few of them."""
    by_name = {server.name: server for server in servers}
    for server in servers:
        look(server)
        say(f"{server.name} is warm")
    taken = []
    for number in range(count):
        asked = [name for name in order(list(by_name), number) if name != SLOW or number < SLOW_ROUNDS]
        taken.append({name: look(by_name[name]) for name in asked})
        say(f"round {number + 1} of {count}")
    return taken


def _paced(server: Server, each: int) -> Outcome:
    body = {"model": server.model, "prompt": PROMPT, "max_tokens": PACED_TOKENS, "stream": True, "pause": PACE_SECONDS}
    ramp = PACED_TOKENS * PACE_SECONDS
    return run_load(server.port, request_bytes(body, server.key), STREAMS, each, ramp=ramp)


def _load(server: Server, tokens: int, each: int = 0, seconds: float = 0.0, **more: float) -> tuple[Outcome, float]:
    pids = server.pids
    before = cpu_seconds(pids)
    outcome = run_load(server.port, _ask(server, tokens, **more), STREAMS, each, seconds)
    return outcome, cpu_seconds(pids) - before


def _ask(server: Server, tokens: int, **more: float) -> bytes:
    body = {"model": server.model, "prompt": PROMPT, "max_tokens": tokens, "stream": True, **more}
    return request_bytes(body, server.key, headers=server.headers)
