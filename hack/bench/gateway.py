#!/usr/bin/env python3
"""How well the NGINX gateway spreads requests, compared with a Service, NGINX's own methods and other routers.

    hack/bench/gateway.py --json FILE [--only spread|direct|vllm] [--rounds 2] [--routers gateway,least_conn]

(a) spread: modelled engines (gateway_parts/model.py: continuous batching, chunked prefill, a prefix cache of bounded
size) get requests of Mooncake's trace of conversations, at their own moments, and the same without common prefixes.
Each router gets them in turns, with empty caches each time. Time is modelled, so a small machine is enough: by how much
steps of the engines and requests of the clients were late is beside each figure.

(b) direct: one modelled engine with and without the gateway in front of it, in turns.

(c) vllm: three real vLLM on the CPU with a tiny model, conversations of several turns.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_parts import direct, spread, table, vllm
from gateway_parts.routers import ROUTERS
from overhead.servers import Fleet

PARTS = {"spread": spread.measure, "direct": direct.measure, "vllm": vllm.measure}


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result; other parts and workloads in it are kept")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--replicas", type=int, default=8, help="modelled engines (8)")
    parser.add_argument("--rounds", type=int, default=2, help="how often each router gets the requests (2)")
    parser.add_argument("--requests", type=int, default=0, help="the first requests alone, for a look (all)")
    parser.add_argument("--workloads", default=",".join(spread.WORKLOADS), help="some alone, with commas between them")
    parser.add_argument("--routers", default=",".join(ROUTERS), help="some alone, with commas between them")
    parser.add_argument("--direct-rounds", type=int, default=10, help="how often the one replica is asked (10)")
    parser.add_argument("--vllm-rounds", type=int, default=1, help="how often real vLLM gets its requests (1)")
    options = parser.parse_args()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    before = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    result = {part: before[part] for part in PARTS if part in before}
    for part, measure in PARTS.items():
        if options.only in (None, part):
            result[part] = result.get(part, {}) | run(measure, options)
    figures = table.headline(result)
    result = {"figures": figures, "targets_met": table.kept(figures)} | result
    print(json.dumps(result, indent=2))
    print(table.table(figures), file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def run(measure: Callable[..., dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """One part with its servers, and the load of the machine before and after it."""
    load_before = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as name, Fleet(Path(name)) as fleet:
        found = measure(fleet, Path(name), options, say)
    return {"load_average_before": load_before, "load_average_after": round(os.getloadavg()[0], 2)} | found


def say(text: str) -> None:
    """What it is at."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
