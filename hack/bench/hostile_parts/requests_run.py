"""Hostile requests against vLLM as the runtime starts it, with keys, on this machine's CPU.

Each attack has its own key and lasts for some seconds, while another process probes /health and another client sends
normal completions. Attempts to exceed a limit run for more than a minute, all at the same time.
Memory is that of the process that serves HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hostile_parts import requests_cases, requests_limits
from hostile_parts.figures import Case, most_in_window, not_run, overrun_percent, percentile
from hostile_parts.requests_cases import RequestCase
from hostile_parts.requests_http import Server
from hostile_parts.requests_limits import LIMIT, Account, LimitCase
from hostile_parts.requests_probe import Probe, Seen, probing
from llmservice_contract.policy import Policy, RateLimit
from overhead import servers
from overhead.processes import rss_mib, tree
from overhead.servers import Fleet, make_model
from support.access import AccessFiles

PART, CLIENT = "requests", "client"
FIGURES = ("limit_overrun_percent", "health_p99_ms", "rss_growth_mib")
SECONDS = 2.5
"""How long one attack lasts."""
REST_SECONDS = 3.0
"""How long is waited at most until /health is as fast as before, so that a case has no other one's load."""
RESTED_SECONDS = 0.08
TIERS = {
    "attacker": RateLimit(requests_per_minute=6000, tokens_per_minute=200_000),
    "limited": RateLimit(tokens_per_minute=LIMIT),
    "one": RateLimit(requests_per_minute=1),
    "client": RateLimit(),
}


@dataclasses.dataclass
class Engine:
    """The server that is attacked."""

    port: int
    metrics_url: str
    http_pid: int
    keys: Mapping[str, str]
    """By case: there before the engine starts, as it reads new ones only now and then."""

    def rss(self) -> float:
        """MiB of the process that serves HTTP."""
        return rss_mib(self.http_pid)

    def tokens(self) -> int:
        """Of all prompts and answers up to now, as the engine counts them."""
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        names = ("vllm:prompt_tokens_total{", "vllm:generation_tokens_total{")
        return round(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names)))

    def attacker(self, case: RequestCase | LimitCase) -> Server:
        """With a key of its own."""
        return Server(self.port, self.keys[case.name])


def all_cases() -> tuple[RequestCase | LimitCase, ...]:
    """Exactly COUNT of them, each by a name of its own."""
    found: tuple[RequestCase | LimitCase, ...] = (*requests_cases.all_cases(), *requests_limits.all_cases())
    names = {case.name for case in found}
    if len(found) != requests_cases.COUNT or len(names) != requests_cases.COUNT:
        raise ValueError(f"{len(found)} cases with {len(names)} names, not {requests_cases.COUNT}")
    return found


def run(
    cases: Sequence[RequestCase | LimitCase], say: Callable[[str], None], deadline: float, whole: dict[str, float]
) -> Iterator[Case]:
    """Each case's outcome; ``whole`` takes the growth of memory over all of them, and the overrun of all keys."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
        engine = _started(stack.enter_context(Fleet(directory)), directory)
        key = engine.keys[CLIENT]
        asyncio.run(_warm(Server(engine.port, key)))
        probe = stack.enter_context(probing(engine.port, key))
        while not probe.seen().answered:
            time.sleep(0.2)
        time.sleep(SECONDS)
        say(f"undisturbed: {_latencies(probe.seen())}; {engine.rss():.0f} MiB")
        before, most = engine.rss(), engine.rss()
        limited = [case for case in cases if isinstance(case, LimitCase)]
        for case in cases:
            if isinstance(case, LimitCase):
                continue
            if time.monotonic() > deadline - (requests_limits.SECONDS + 20 if limited else 0):
                yield not_run(PART, case.name, case.family, FIGURES[1:], "no time left")
                continue
            found, peak = asyncio.run(_attacked(engine, probe, case))
            most = max(most, peak)
            say(f"{found.name}: {found.verdict}; {found.notes}{_missed(found)}")
            yield found
        if limited:
            for found in asyncio.run(_limited(engine, probe, limited, whole)):
                say(f"{found.name}: {found.verdict}; {found.notes}{_missed(found)}")
                yield found
        whole["rss_growth_mib"] = max(most, engine.rss()) - before


def _missed(case: Case) -> str:
    return f" MISSED {', '.join(case.missed)}" if case.missed else ""


def _started(fleet: Fleet, directory: Path) -> Engine:
    model = make_model(directory / "model")
    access = AccessFiles(directory, Policy(require_keys=True, tiers=TIERS))
    tiers = {CLIENT: "client"} | {each.name: each.tier for each in all_cases()}
    keys = {name: access.make_key(tier) for name, tier in tiers.items()}
    server = fleet.ready(servers.runtime(fleet, "hostile", model, access.environ | {"LOG_FORMAT": "json"}))
    serving = [pid for pid in tree(server.process.pid) if _listens(pid, server.port)]
    return Engine(server.port, server.metrics_url, serving[-1], keys)


def _listens(pid: int, port: int) -> bool:
    """Whether it is the process of vLLM that serves HTTP at this port: no other one has the socket."""
    sockets = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if _is_at(line, port)}
    sockets |= {line.split()[9] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if _is_at(line, port)}
    with contextlib.suppress(OSError):
        return any(
            str(link.readlink()) in {f"socket:[{number}]" for number in sockets}
            for link in Path(f"/proc/{pid}/fd").iterdir()
            if link.is_symlink()
        )
    return False


def _is_at(line: str, port: int) -> bool:
    fields = line.split()
    return fields[1].endswith(f":{port:04X}") and fields[3] == "0A"


async def _warm(server: Server) -> None:
    """Everything that is loaded at its first use: it is no attack's doing."""
    usual = requests_cases
    grammar = {"regex": "[ab]+"}, {"json": {"type": "object"}}, {"choice": ["a", "b"]}, {"grammar": 'root ::= "a"'}
    bodies: list[tuple[str, dict[str, Any]]] = [
        (usual.COMPLETIONS, usual.completion()),
        (usual.CHAT, usual.chat()),
        (usual.CHAT, usual.chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])),
        (usual.RESPONSES, {"model": "tiny", "input": "a", "max_output_tokens": 4}),
        (usual.MESSAGES, {"model": "tiny", "messages": usual.chat()["messages"], "max_tokens": 4}),
        ("/v1/batch", {"prompts": ["a"], "max_tokens": 1}),
        *((usual.COMPLETIONS, usual.completion(structured_outputs=each)) for each in grammar),
    ]
    for path, body in bodies:
        await server.post(path, body, 60)
    await asyncio.gather(*(server.post(usual.COMPLETIONS, usual.completion(max_tokens=50), 60) for _ in range(64)))


async def _attacked(engine: Engine, probe: Probe, case: RequestCase) -> tuple[Case, float]:
    """One attack's outcome, and the most memory while it lasted."""
    await _rested(probe)
    before, peaks, server = engine.rss(), [0.0], engine.attacker(case)
    watching = asyncio.create_task(_watch(engine, peaks))
    began = time.monotonic()
    statuses = await case.attack(server, SECONDS)
    took = time.monotonic() - began
    # What the attack has left on the server's loop counts, too.
    await asyncio.sleep(0.5)
    watching.cancel()
    seen = await asyncio.to_thread(probe.seen)
    peak = max(peaks[0], engine.rss())
    p99 = percentile(seen.health, 0.99) * 1000
    figures = {
        FIGURES[1]: round(p99, 1),
        FIGURES[2]: round(peak - before, 1),
        "other_clients_failed": float(len(seen.failed)),
    }
    notes = {"health_max_ms": round(max(seen.health, default=0.0) * 1000), "client_max_s": _most(seen.answered)}
    if seen.unhealthy:
        notes["unhealthy"] = seen.unhealthy
    return Case(PART, case.name, case.family, _counted(statuses), took * 1000, figures, notes), peak


def _most(values: Sequence[float]) -> float:
    return round(max(values, default=0.0), 2)


def _counted(statuses: Counter[int]) -> str:
    return ", ".join(f"{count} x {status or 'no answer'}" for status, count in statuses.most_common()) or "nothing sent"


def _latencies(seen: Seen) -> str:
    p99, count = percentile(seen.health, 0.99) * 1000, len(seen.health)
    return f"/health p99 {p99:.0f} ms of {count}, a client's answers {_most(seen.answered)} s at most"


async def _watch(engine: Engine, peaks: list[float]) -> None:
    while True:
        peaks[0] = max(peaks[0], engine.rss())
        await asyncio.sleep(0.05)


async def _rested(probe: Probe) -> None:
    """Until /health is fast again."""
    deadline = time.monotonic() + REST_SECONDS
    await asyncio.to_thread(probe.seen)
    while time.monotonic() < deadline:
        await asyncio.sleep(0.3)
        seen = await asyncio.to_thread(probe.seen)
        if seen.health and max(seen.health) < RESTED_SECONDS and seen.answered:
            return


async def _limited(engine: Engine, probe: Probe, cases: Sequence[LimitCase], whole: dict[str, float]) -> Sequence[Case]:
    """All attempts at once: each one's overrun as it sees it, and that of all as the engine does."""
    await _rested(probe)
    accounts = [Account() for _ in cases]
    counted: list[tuple[float, int]] = []

    async def count() -> None:
        last = await asyncio.to_thread(engine.tokens)
        while True:
            await asyncio.sleep(0.5)
            now = await asyncio.to_thread(engine.tokens)
            counted.append((time.monotonic(), now - last))
            last = now

    counting = asyncio.create_task(count())
    began = time.monotonic()
    await asyncio.gather(
        *(
            case.attempt(engine.attacker(case), account, requests_limits.SECONDS)
            for case, account in zip(cases, accounts, strict=True)
        )
    )
    took = time.monotonic() - began
    await asyncio.sleep(1.0)
    counting.cancel()
    seen = await asyncio.to_thread(probe.seen)
    others = [(at, -tokens) for at, tokens in seen.tokens]
    used = most_in_window([*counted, *others])
    whole[FIGURES[0]] = overrun_percent(used, LIMIT * len(cases))
    found = []
    for case, account in zip(cases, accounts, strict=True):
        most = most_in_window(account.given)
        verdict = f"{most} tokens of {LIMIT} in a minute; {account.answered} answers, {account.refused} refused"
        figures = {FIGURES[0]: round(overrun_percent(most, LIMIT), 1)}
        notes = {"all_keys": used, "limit_of_all_keys": LIMIT * len(cases)}
        found.append(Case(PART, case.name, case.family, verdict, took * 1000, figures, notes))
    return found
