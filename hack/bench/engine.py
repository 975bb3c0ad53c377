#!/usr/bin/env python3
"""Measures vLLM on a CPU as the runtime starts it, with small models that are created here.

(a) Continuous batching: 64 concurrent users with max_num_seqs 1 and 64. (b) Prefix caching: the time to the first token
of a new prompt of 2,000 tokens, and of one with the same prefix, with the cache and without. (c) The time to the first
token of a tiny model under requests that arrive at a fixed rate, whether the server keeps up or not.

    hack/bench/engine.py --json FILE

Exits with 1 if a target is missed.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from engine_parts import batching, first_tokens, prefixes
from engine_parts.table import headline, kept, table
from overhead.servers import Fleet, make_model

TINY: dict[str, int] = {}
"""make_tiny.py's own."""
WIDE = {"layers": 6, "heads": 8, "kv_heads": 4, "hidden": 512, "context": 4096, "steps": 0}
"""Large enough that 2,000 tokens are some hundred milliseconds of arithmetic. What it says doesn't matter."""
PARTS = ("batching", "prefixes", "first_tokens")


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result; with --only the other parts in it are kept")
    parser.add_argument("--rounds", type=int, default=3, help="of batching (3)")
    parser.add_argument("--prefixes", type=int, default=7, help="fresh ones (7)")
    parser.add_argument("--rate", type=float, default=4.0, help="of arrivals, requests a second (4)")
    parser.add_argument("--requests", type=int, default=300, help="that arrive (300)")
    parser.add_argument("--seed", type=int, default=1, help="of prompts and arrivals (1)")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    options = parser.parse_args()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    measured = {part: run(part, options) for part in PARTS if options.only in (None, part)}
    figures = headline(measured)
    print(table(figures))
    if options.json:
        write(options.json, measured)
    return 0 if all(kept(figures).values()) else 1


def write(file: Path, measured: dict[str, Any]) -> None:
    """The parts, those of before where they were not measured again, below the figures that have targets."""
    before = json.loads(file.read_text()) if file.exists() else {}
    parts = {part: found for part in PARTS if (found := measured.get(part) or before.get(part))}
    figures = headline(parts)
    file.write_text(json.dumps(figures | {"targets_met": kept(figures)} | parts, indent=2) + "\n")


def run(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """One part with its servers."""
    load_before = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix=f"engine-{part}-") as name:
        directory = Path(name)
        model = make_model(directory / "model", **(WIDE if part == "prefixes" else TINY))
        with Fleet(directory) as fleet:
            match part:
                case "batching":
                    found = batching.measure(fleet, model, options.rounds, say)
                case "prefixes":
                    found = asyncio.run(prefixes.measure(fleet, model, options.prefixes, options.seed, say))
                case _:
                    found = asyncio.run(
                        first_tokens.measure(fleet, model, options.rate, options.requests, options.seed)
                    )
    return {"load_average_before": load_before} | found


def say(text: str) -> None:
    """What it is at."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
