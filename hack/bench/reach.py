#!/usr/bin/env python3
"""Measures the capacity of the gateway: requests per second and core, and the cores for 10,000 and 12,000 per second.

Two parts are measured: the middleware alone, called in one process around an application that does nothing; and the
whole HTTP server with gateway and stub engine, over sockets, by the CPU time of its process. Neither contains vLLM's
work for a request (tokenizer, scheduler, model), so the table is a lower bound of what a service needs.

    hack/bench/reach.py --json FILE
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from overhead.access import make_access
from overhead.load import request_bytes, run_load
from overhead.measure import PROMPT, STREAMS
from overhead.processes import cpu_seconds
from overhead.reach_table import USE, table
from overhead.servers import ROOT, VLLM, Fleet, Server, stub

LOOKS, REQUESTS = 7, 12
TOKENS = (1, 64)
LONGEST_SECONDS = 300


def main() -> int:
    """Measure, compute, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    options = parser.parse_args()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="reach-") as name:
        directory = Path(name)
        access = make_access(directory)
        alone = middleware(access.environment, access.key)
        with Fleet(directory) as fleet:
            whole = front_end(fleet.ready(stub(fleet, "ours", access.environment, access.key)))
    spent = alone["front"]["us_per_request"] - alone["bare"]["us_per_request"]
    rates = {
        "middleware alone": 1e6 / spent,
        **{f"{tokens} tokens, streamed": 1e6 / us for tokens, us in whole.items()},
    }
    result = {
        "in_process_us": alone,
        "front_end_us_per_request": whole,
        "requests_per_s_and_core": {kind: round(rate) for kind, rate in rates.items()},
        "planned_use_of_a_core": USE,
        "table": table(rates),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def middleware(environ: dict[str, str], key: str) -> Any:
    """See inprocess.py."""
    script = ROOT / "hack/bench/overhead/inprocess.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "runtime"), **environ}
    command: list[str | Path] = [VLLM / "python", script, key]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    if done.returncode:
        raise SystemExit(f"{script.name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def front_end(server: Server) -> dict[int, float]:
    """CPU time of a streamed request in microseconds, by its tokens: medians."""
    found = {}
    for tokens in TOKENS:
        request = request_bytes({"prompt": PROMPT, "max_tokens": tokens, "stream": True}, server.key)
        looks = []
        for _ in range(LOOKS):
            before = cpu_seconds(server.pids)
            outcome = run_load(server.port, request, STREAMS, REQUESTS if tokens == 1 else 3)
            looks.append((cpu_seconds(server.pids) - before) / outcome.requests * 1e6)
        found[tokens] = round(statistics.median(looks), 1)
    return found


if __name__ == "__main__":
    sys.exit(main())
