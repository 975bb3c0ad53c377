#!/usr/bin/env python3
"""Measures what hostile models, metrics and clients do to others: 200 config.json files, 50 metrics, 50 requests.

(configs) The operator runs as a separate process with a stand-in for the API server and 20 good services: it reads one
hostile model after the other, as from an inspection Job, while good services change. (metrics) The same operator scales
good services while the pods of one tenant report invalid numbers to Prometheus. (requests) vLLM as the runtime starts
it on this machine's CPU, with keys: one key attacks, another key sends normal requests, and a probe requests /health.

    hack/bench/hostile.py --json FILE [--only configs] [--cases 20] [--names pattern]

"operator_longest_stall_ms": longest time in which the operator's event loop did nothing. "other_services_affected":
good services whose status or numbers were wrong or late, over all cases. "limit_overrun_percent": by how much a key's
tokens of any minute exceeded its limit. "health_p99_ms": of all requests of /health; "cases" has the slowest case.
"rss_growth_mib": growth of the API server's process from before the first attack to its maximum.
"other_clients_failed": requests of another key without an answer.

Exits with 1 if a target is missed, and names the cases.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from hostile_parts import configs_run, metrics_cases, metrics_run, requests_run
from hostile_parts.figures import WANTED, Case, missed, plain, worst

PARTS = ("configs", "metrics", "requests")
SECONDS = {"configs": 300.0, "metrics": 150.0, "requests": 330.0}
"""What each part may take; a case that it does not suffice for counts as missed."""


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part alone")
    parser.add_argument("--cases", type=int, help="so many of each part, evenly chosen")
    parser.add_argument("--names", help="only cases whose name has this")
    parser.add_argument("--seconds", type=float, help="of each part, instead of some minutes")
    options = parser.parse_args()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    load_before = round(os.getloadavg()[0], 2)
    found: list[Case] = []
    whole: dict[str, float] = {}
    for part in PARTS:
        if options.only is None or part in options.only:
            found += run(part, options, whole)
    figures = worst(found, whole)
    late = missed(figures)
    cases = [plain(case) for case in found]
    silent = sum(int(case.notes.get("without_status", 0)) for case in found)
    result: dict[str, Any] = {
        **figures,
        "targets_met": not late,
        "hostile_services_without_status": silent,
        "load_average_before": load_before,
        "cases": cases,
    }
    print(json.dumps({**result, "cases": len(cases)}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    for name, value in late.items():
        guilty = [case.name for case in found if name in case.missed]
        print(f"{name} is {value:g}, wanted {WANTED[name]:g}: {', '.join(guilty) or 'the run as a whole'}")
    return 1 if late else 0


def run(part: str, options: argparse.Namespace, whole: dict[str, float]) -> list[Case]:
    """The cases of one part; ``whole`` takes the figures of it as a whole."""
    deadline = time.monotonic() + (options.seconds or SECONDS[part])
    match part:
        case "configs":
            return list(configs_run.run(chosen(configs_run.all_cases(), options), say, deadline))
        case "metrics":
            return list(metrics_run.run(chosen(metrics_cases.all_cases(), options), say, deadline))
        case _:
            return list(requests_run.run(chosen(requests_run.all_cases(), options), say, deadline, whole))


def chosen(cases: Sequence[Any], options: argparse.Namespace) -> list[Any]:
    """Those whose name is asked for, and so many of them as are."""
    named = [case for case in cases if not options.names or options.names in case.name]
    count = min(options.cases or len(named), len(named))
    return [named[number * len(named) // count] for number in range(count)]


def say(text: str) -> None:
    """What it is at."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
