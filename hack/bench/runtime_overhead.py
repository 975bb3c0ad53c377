#!/usr/bin/env python3
"""What the runtime costs: vLLM as the runtime starts it, keys, limits, caps and metrics on, compared with vLLM alone.

All servers run at once and get requests in turns; an idle one costs nothing. There are two bare servers: the others are
compared with the mean of both, and the difference between the two is the noise. (a) vLLM on the CPU with a tiny model,
started several times, (b) an engine stub in the same HTTP server, so fast that the gateway's time is measurable. NGINX
and LiteLLM's proxy in front of the bare server are measured beside both. Each server has 64 streams at once.

    hack/bench/runtime_overhead.py --json FILE [--rounds 10] [--starts 6]

(c) One vLLM process under constant load, with and without the gateway in turns: two processes of one command line
differ by more than the gateway costs. Its streams have different lengths; those of (a) are in step and send their
requests together. "throughput_ratio" is of (c), "throughput_ratio_of_processes" of (a).

With --gpu vLLM runs on the GPU with a model of 4.6 thousand million random parameters, and 4 requests a stream.

"rss_delta_mib" is of (a) and includes the launcher. Two figures are of the stub, because a small machine's vLLM is too
slow to show them: "p99_ttft_delta_ms" at 64 streams, each with one request after the other, and "per_chunk_us", the CPU
time of the server's processes for one more event. All are medians of the differences within a round; their intervals
take into account that rounds after the same start are not independent.
"""

import argparse
import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overhead import measure, proxies, report
from overhead.access import make_access
from overhead.processes import name_of, rss_mib, tree
from overhead.servers import CPU, GPU, Fleet, Server, doors, engines, make_model, stub

PROXIES = {"nginx": proxies.nginx, "litellm": proxies.litellm}
ABSENT = "not on this machine: apt-get install nginx, hack/venv/litellm"


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--rounds", type=int, default=10, help="how often each stub is asked (10)")
    parser.add_argument(
        "--starts", type=int, default=6, help="how often the engines are started and asked several times (6)"
    )
    parser.add_argument(
        "--engine-rounds", type=int, default=measure.ENGINE_ROUNDS, help="how often they are asked then (6)"
    )
    parser.add_argument("--door-rounds", type=int, default=30, help="how often each door of one engine is taken (30)")
    parser.add_argument("--gpu", action="store_true", help="vLLM on the GPU, a large model")
    parser.add_argument("--only", choices=("engine", "stub", "doors"), help="one part alone, for a look")
    options = parser.parse_args()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    load_before = os.getloadavg()[0]
    parts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="runtime-overhead-") as name:
        if options.only in (None, "stub"):
            parts["stub"] = run_stubs(Path(name), options.rounds)
        if options.only in (None, "engine"):
            parts["engine"] = run_engines(Path(name), options)
        if options.only in (None, "doors"):
            parts["doors"] = run_doors(Path(name), options)
    result = assemble(parts) | {
        "load_average_before": round(load_before, 2),
        "rounds": options.rounds,
        "starts": options.starts,
        "engine_rounds": options.engine_rounds,
        "door_rounds": options.door_rounds,
        "gpu": options.gpu,
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def run_stubs(home: Path, rounds: int) -> dict[str, Any]:
    """The stub bare, bare again and behind the gateway."""
    with begun(home / "stub") as (fleet, directory):
        access = make_access(directory)
        own = [stub(fleet, "bare"), stub(fleet, "bare_again"), stub(fleet, "ours", access.environment, access.key)]
        look = ask_all(fleet, directory, own, measure.stub, rounds, PROXIES)
    return figures_of([look])


def run_engines(home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """vLLM bare, bare again and as the runtime starts it; the proxies stand before the first ones."""
    device = GPU if options.gpu else CPU
    look = functools.partial(measure.engine, each=device.requests)
    model, looks = make_model(home / "tiny", **device.model), []
    for number in range(options.starts):
        with begun(home / f"engine-{number}") as (fleet, directory):
            access = make_access(directory)
            own = engines(fleet, model, access.environment, access.key, first=number, device=device)
            others = {} if number else PROXIES
            looks.append(ask_all(fleet, directory, own, look, options.engine_rounds, others))
    return figures_of(looks)


def run_doors(home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One vLLM without the gateway, once more without it, and with it."""
    device = GPU if options.gpu else CPU
    with begun(home / "doors") as (fleet, directory):
        model, access = make_model(directory / "model", **device.model), make_access(directory)
        own = doors(fleet, model, access.environment, access.key, device)
        return figures_of([ask_all(fleet, directory, own, measure.steady, options.door_rounds, {})])


@contextlib.contextmanager
def begun(directory: Path) -> Iterator[tuple[Fleet, Path]]:
    """A place for one start of servers."""
    directory.mkdir()
    with Fleet(directory) as fleet:
        yield fleet, directory


@dataclass(frozen=True)
class Look:
    """The figures of the rounds after one start of the servers, and the memory at their end."""

    taken: list[dict[str, measure.Figures]]
    rss_mib: dict[str, dict[str, float]]


def ask_all(
    fleet: Fleet, directory: Path, own: list[Server], look: Any, rounds: int, before: Mapping[str, Any]
) -> Look:
    """Sends requests to all servers and proxies in turns; reads their memory at the end."""
    servers = [fleet.ready(server) for server in own]
    servers += [server for make in before.values() if (server := make(fleet, directory, servers[0]))]
    taken = measure.rounds(servers, look, rounds, lambda text: print(text, file=sys.stderr, flush=True))
    return Look(taken, {server.name: memory(server) for server in servers})


def figures_of(looks: Sequence[Look]) -> dict[str, Any]:
    """Each server's figures, compared with the bare ones and alone; memory is of the last start that has the server."""
    taken = [look.taken for look in looks]
    rss = {name: sizes for look in looks for name, sizes in look.rss_mib.items()}
    figures: dict[str, Any] = {}
    for name, sizes in rss.items():
        compared = {} if name == report.BARE else report.against_bare(taken, name)
        figures[name] = compared | {"figures": report.medians(taken, name), "rss_mib": sizes}
    return figures


def memory(server: Server) -> dict[str, float]:
    """Resident memory of its own processes by name, and all together."""
    sizes: dict[str, float] = {}
    for pid in tree(server.process.pid):
        sizes[name_of(pid)] = round(sizes.get(name_of(pid), 0.0) + rss_mib(pid), 1)
    return sizes | {"all": round(sum(sizes.values()), 1)}


def assemble(parts: dict[str, Any]) -> dict[str, Any]:
    """The figures that have targets, then each server in each part."""
    result: dict[str, Any] = {}
    if engine := parts.get("engine"):
        result["throughput_ratio_of_processes"] = engine["ours"]["throughput_ratio"]["median"]
        sizes = {name: engine[name]["rss_mib"]["all"] for name in ("ours", "bare", "bare_again")}
        result["rss_delta_mib"] = round(sizes["ours"] - (sizes["bare"] + sizes["bare_again"]) / 2, 1)
    if "stub" in parts:
        result |= {name: parts["stub"]["ours"][name]["median"] for name in ("p99_ttft_delta_ms", "per_chunk_us")}
    if "doors" in parts:
        result["throughput_ratio"] = parts["doors"]["ours"]["throughput_ratio"]["median"]
    if len(parts) == 3:
        result["targets_met"] = report.kept(result)
    names = ("ours", "bare", "bare_again", *PROXIES)
    for name in names:
        found = {part: figures[name] for part, figures in parts.items() if name in figures}
        if found or parts.keys() != {"doors"}:
            result[name] = found or ABSENT
    return result


if __name__ == "__main__":
    sys.exit(main())
