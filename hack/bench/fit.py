"""Error of the memory estimate against published starts of vLLM, and the CPU time of an estimate.

Writes the table of docs/fit.md as JSON: ``fit.py --json docs/benchmarks/fit.json``. Takes some seconds.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from llmservice_operator.gpu_memory.fit import fit
from llmservice_operator.gpu_memory.ledger import Verdict
from support.published import GIB, Measurement, measurements

PERIODS = (
    ("upTo0.16", (0, 0), (0, 17)),
    ("from0.17to0.20", (0, 17), (0, 21)),
    ("from0.21to0.28", (0, 21), (0, 29)),
    ("from0.29", (0, 29), (1, 0)),
)
"""Versions of vLLM that account for memory alike, or nearly."""


def main() -> None:
    """Compare, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    known = [each for each in measurements() if fit(each.request).verdict is not Verdict.UNKNOWN]
    started = [each for each in known if each.row["started"] and "kvGiB" in each.row]
    figures = {
        "starts": len(known),
        "rightVerdicts": sum((fit(each.request).verdict is Verdict.FITS) == each.row["started"] for each in known),
        "weightsPercent": spread([off(each, "weights", "weightsGiB") for each in known if "weightsGiB" in each.row]),
        "cachePercent": {
            name: spread([off(each, "cache", "kvGiB") for each in started if low <= each.vllm < high])
            for name, low, high in PERIODS
        },
        "cpuMilliseconds": spread([milliseconds(each) for each in known]),
    }
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def off(measured: Measurement, part: str, field: str) -> float:
    """By how many percent the estimate exceeds the measured value."""
    return 100 * (getattr(fit(measured.request).ledger, part) / GIB / measured.row[field] - 1)


def milliseconds(measured: Measurement) -> float:
    """CPU of one answer, suggestions included."""
    begin = time.process_time()
    for _ in range(5):
        fit(measured.request)
    return 200 * (time.process_time() - begin)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """How many, and their range."""
    shown = {"least": min(values), "median": statistics.median(values), "most": max(values)}
    return {"count": len(values), **{name: round(value, 2) for name, value in shown.items()}}


main()
