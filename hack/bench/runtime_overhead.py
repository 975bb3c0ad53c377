#!/usr/bin/env python3
"""What the runtime costs: vLLM as the runtime starts it, keys, limits, caps and metrics on, against vLLM alone.

All servers run at once and are asked in turns; one that is not asked costs nothing. A second bare server shows how much
of a difference is noise. (a) vLLM on the CPU with a tiny model, (b) an engine stub in the same HTTP server, fast enough
for the front to show. Beside both, NGINX and LiteLLM's proxy before the bare server. 64 streams at once everywhere.

    hack/bench/runtime_overhead.py --json FILE [--rounds 10]

{"throughput_ratio", "rss_delta_mib"} are of vLLM (the launcher's memory counts). The two that a small machine's vLLM
hides are of the stub: "p99_ttft_delta_ms" at 64 streams that ask one after the other, as vLLM here takes seconds for a
first token of so many; "per_chunk_us", CPU time of the server's processes for one more event. Medians of the rounds'
differences.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from overhead import measure, proxies, report
from overhead.access import make_access
from overhead.processes import name_of, rss_mib, tree
from overhead.servers import Fleet, Server, engines, make_model, stub

PROXIES = {"nginx": proxies.nginx, "litellm": proxies.litellm}
ABSENT = "not on this machine: apt-get install nginx, hack/venv/litellm"


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--rounds", type=int, default=10, help="how often each server is asked (10)")
    parser.add_argument("--only", choices=("engine", "stub"), help="one part alone, for a look")
    options = parser.parse_args()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    load_before = os.getloadavg()[0]
    parts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="runtime-overhead-") as name:
        for part, run in (("stub", run_stubs), ("engine", run_engines)):
            if options.only in (None, part):
                directory = Path(name) / part
                directory.mkdir()
                with Fleet(directory) as fleet:
                    parts[part] = run(fleet, directory, options.rounds)
    result = assemble(parts) | {"load_average_before": round(load_before, 2), "rounds": options.rounds}
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def run_stubs(fleet: Fleet, directory: Path, rounds: int) -> dict[str, Any]:
    """The stub bare, bare again and in the front."""
    access = make_access(directory)
    own = [stub(fleet, "bare"), stub(fleet, "bare_again"), stub(fleet, "ours", access.environment, access.key)]
    return compare(fleet, directory, own, measure.stub, rounds)


def run_engines(fleet: Fleet, directory: Path, rounds: int) -> dict[str, Any]:
    """vLLM bare, bare again and as the runtime starts it."""
    access, model = make_access(directory), make_model(directory / "tiny")
    return compare(
        fleet, directory, list(engines(fleet, model, access.environment, access.key)), measure.engine, rounds
    )


def compare(fleet: Fleet, directory: Path, own: list[Server], look: Any, rounds: int) -> dict[str, Any]:
    """All of them and the proxies in turns; memory is looked at in the end."""
    servers = [fleet.ready(server) for server in own]
    others = {name: make(fleet, directory, servers[0]) for name, make in PROXIES.items()}
    servers += [server for server in others.values() if server]
    taken = measure.rounds(servers, look, rounds, lambda text: print(text, file=sys.stderr, flush=True))
    told = {server.name: report.against_bare(taken, server.name) for server in servers[1:]}
    for server in servers:
        told.setdefault(server.name, {})["figures"] = report.medians(taken, server.name)
        told[server.name]["rss_mib"] = memory(server)
    return told


def memory(server: Server) -> dict[str, float]:
    """Resident memory of its own processes by name, and all together."""
    sizes: dict[str, float] = {}
    for pid in tree(server.process.pid):
        sizes[name_of(pid)] = round(sizes.get(name_of(pid), 0.0) + rss_mib(pid), 1)
    return sizes | {"all": round(sum(sizes.values()), 1)}


def assemble(parts: dict[str, Any]) -> dict[str, Any]:
    """The figures that have targets, then each server in both parts."""
    result: dict[str, Any] = {}
    if engine := parts.get("engine"):
        result["throughput_ratio"] = engine["ours"]["throughput_ratio"]["median"]
        sizes = {name: engine[name]["rss_mib"]["all"] for name in ("ours", "bare", "bare_again")}
        result["rss_delta_mib"] = round(sizes["ours"] - (sizes["bare"] + sizes["bare_again"]) / 2, 1)
    if "stub" in parts:
        result |= {name: parts["stub"]["ours"][name]["median"] for name in ("p99_ttft_delta_ms", "per_chunk_us")}
    if len(parts) == 2:
        result["targets_met"] = report.kept(result)
    names = ("ours", "bare", "bare_again", *PROXIES)
    for name in names:
        found = {part: told[name] for part, told in parts.items() if name in told}
        result[name] = found or ABSENT
    return result


if __name__ == "__main__":
    sys.exit(main())
