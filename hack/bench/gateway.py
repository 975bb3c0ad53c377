#!/usr/bin/env python3
"""How well the NGINX gateway spreads requests, what it costs, and how it holds under attack.

    hack/bench/gateway.py --json FILE [--only direct,held] [--rounds 2] [--routers gateway,least_conn]

shared_prefixes, without_prefixes: modelled engines (gateway_parts/model.py: continuous batching, chunked prefill, a
prefix cache of bounded size) get requests of Mooncake's trace of conversations at random moments, and the same without
common prefixes. Each router gets them in turns, with empty caches each time. Time is modelled, so a small machine is
enough: by how much steps of the engines and requests of the clients were late is beside each figure.

direct: one modelled engine with and without the gateway in front of it, in turns, one request at a time.

held: streams to a service at zero.

attacked: requests of a good client with and without hostile ones beside them, in turns.

vllm: three real vLLM on the CPU with a tiny model, conversations of several turns. salt: one of them, whose prefix
cache a second key looks into by time, without and with a prefix cache for each key.

Each section in the file says when it was measured, of which commit, and the load of the machine; with --only the others
are kept. All sections take 20 minutes.
"""

import argparse
import datetime
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_parts import attacked, direct, held, priority, salt, spread, table, vllm
from gateway_parts.routers import ROUTERS
from overhead.servers import ROOT, Fleet

Measure = Callable[[Fleet, Path, argparse.Namespace, Callable[[str], None]], dict[str, Any]]
SECTIONS: dict[str, Measure] = {
    **{name: functools.partial(spread.measure, name) for name in spread.WORKLOADS},
    "direct": direct.measure,
    "held": held.measure,
    "attacked": attacked.measure,
    "vllm": vllm.measure,
    "salt": salt.measure,
}
GATEWAY = "operator/llmservice_operator/gateway"
ENGINES = ("vllm", "salt")
"""Sections with real engines: with a higher priority than all else these would take the whole machine."""


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result; other sections in it are kept")
    parser.add_argument("--only", default=",".join(SECTIONS), help="some sections alone, with commas between them")
    parser.add_argument("--replicas", type=int, default=8, help="modelled engines (8)")
    parser.add_argument("--rounds", type=int, default=2, help="how often routers with a target get the requests (2)")
    parser.add_argument("--requests", type=int, default=0, help="so many, the first of the trace (1000; 600)")
    parser.add_argument("--routers", default=",".join(ROUTERS), help="some alone, with commas between them")
    parser.add_argument("--turns", type=int, default=3000, help="requests to the one replica, each way (3000)")
    parser.add_argument("--vllm-rounds", type=int, default=1, help="how often real vLLM gets its requests (1)")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := sorted(set(wanted) - set(SECTIONS)):
        parser.error(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    before = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    sections = {name: before["sections"][name] for name in SECTIONS if name in before.get("sections", {})}
    result: dict[str, Any] = {}
    for name in (name for name in SECTIONS if name in wanted):
        sections[name] = run(name, options)
        figures = table.headline(sections)
        result = {"figures": figures, "targets_met": table.kept(figures), "sections": sections}
        if options.json:
            options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    print(table.table(result["figures"]), file=sys.stderr)
    return 0


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One section with its servers, and when and of what it was measured."""
    began, at = time.monotonic(), datetime.datetime.now(datetime.UTC)
    load_before, versions = round(os.getloadavg()[0], 2), _versions()
    with (
        tempfile.TemporaryDirectory(prefix="bench-gateway-") as directory,
        Fleet(Path(directory)) as fleet,
        priority.taken(name not in ENGINES) as given,
    ):
        found = SECTIONS[name](fleet, Path(directory), options, say)
    measured = {
        "at": at.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began),
        **versions,
        "cores": len(os.sched_getaffinity(0)),
        "load_average_before": load_before,
        "load_average_after": round(os.getloadavg()[0], 2),
        "priority": given,
    }
    return {"measured": measured} | found


def _versions() -> dict[str, str]:
    """The commit, and the tree of the gateway's code: the latter stays if the commit is put onto another one."""
    found = {}
    for name, revision, path in (("commit", "HEAD", "."), ("gateway_tree", f"HEAD:{GATEWAY}", GATEWAY)):
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", path)
        found[name] = _git("rev-parse", "--short=12", revision) + ("+changes" if changed else "")
    return found


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def say(text: str) -> None:
    """What it is at."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
