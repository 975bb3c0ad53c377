#!/usr/bin/env python3
"""Measures the cost of one read of Prometheus: queries, bytes and CPU seconds on both sides, by number of services.

A Prometheus on this machine gets a database with the series of busy engines, two for each service, and is read as the
operator reads it. Needs `prometheus` and `promtool` (`make tools`), and no cluster.

    hack/bench/prometheus.py --json FILE [--services 10 1000] [--looks 10]
"""

import argparse
import asyncio
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from llmservice_contract.metrics import BUCKETS
from llmservice_operator import metrics
from llmservice_operator.config.scaling import PrometheusSettings
from llmservice_operator.controller.prometheus.client import Prometheus
from support.engines import LATENCIES
from support.prometheus_server import PrometheusServer

ENGINES = 2
SCRAPES = 5
INTERVAL = 15
MEDIANS = {"time_to_first_token": 0.3, "inter_token_latency": 0.03, "request_latency": 5.0}


def main() -> int:
    """Measure each number of services; returns 1 if the number of queries depends on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--services", type=int, nargs="+", default=[10, 1000], help="numbers of services (10 1000)")
    parser.add_argument("--looks", type=int, default=10, help="looks to take the median of (10)")
    options = parser.parse_args()
    runs = [measure(count, options.looks) for count in options.services]
    print(json.dumps(runs, indent=2))
    if options.json:
        options.json.write_text(json.dumps(runs, indent=2) + "\n")
    return 1 if len({run["queries_per_look"] for run in runs}) > 1 else 0


def measure(services: int, looks: int) -> dict[str, Any]:
    """One number of services."""
    now = int(time.time())
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        page = Path(folder, "series.om")
        series = set()
        with page.open("w") as file:
            for kind, lines in families(services, now):
                file.write(kind)
                for line in lines:
                    series.add(hash(line.partition(" ")[0]))
                    file.write(line)
            file.write("# EOF\n")
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", page, f"{folder}/data"], check=True
        )
        page.unlink()
        server = PrometheusServer(Path(folder))
        server.start()
        try:
            return {"services": services, "engines": services * ENGINES, "series": len(series)} | asyncio.run(
                look(server.url, now, services, looks)
            )
        finally:
            server.stop()


async def look(url: str, now: float, services: int, looks: int) -> dict[str, Any]:
    """Reads that many times."""
    reader = Prometheus(PrometheusSettings(url=url, timeout_seconds=60), now=lambda: float(now))
    walls, own, theirs = [], [], []
    sent = metrics.PROMETHEUS_QUERIES._value.get()
    for _ in range(looks):
        wall, mine, its = time.monotonic(), cpu(), prometheus_cpu(url)
        found = await reader.read()
        walls.append(time.monotonic() - wall)
        own.append(cpu() - mine)
        theirs.append(prometheus_cpu(url) - its)
        assert found.gap is None, found.gap
        assert len(found.signals) == services, f"{len(found.signals)} of {services} services were read"
        assert all(len(each.latencies) == len(LATENCIES) for each in found.signals.values())
    return {
        "queries_per_look": (metrics.PROMETHEUS_QUERIES._value.get() - sent) / looks,
        "look_s": round(statistics.median(walls), 3),
        "reader_cpu_s": round(statistics.median(own), 3),
        "prometheus_cpu_s": round(statistics.median(theirs), 3),
    }


def cpu() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def prometheus_cpu(url: str) -> float:
    """CPU seconds of that Prometheus."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds_total "))


def families(services: int, now: int) -> Iterator[tuple[str, Iterator[str]]]:
    """OpenMetrics: the head of each family, and its lines."""
    rng = random.Random(5)
    engines = [
        f'namespace="team-{number % 20}",pod="chat-{number:04d}-{ordinal}",model_name="tiny",engine="0"'
        for number in range(services)
        for ordinal in range(ENGINES)
    ]
    times = [now - 1 - INTERVAL * ago for ago in reversed(range(SCRAPES))]

    def gauge(name: str) -> Iterator[str]:
        for labels in engines:
            for at in times:
                yield f"{name}{{{labels}}} {rng.randint(0, 40)} {at}\n"

    def finished() -> Iterator[str]:
        for labels in engines:
            for reason in ("stop", "length", "abort"):
                for step, at in enumerate(times):
                    yield f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {step * 30} {at}\n'

    def histogram(family: str, name: str) -> Iterator[str]:
        for labels in engines:
            logs = [math.log(MEDIANS[family]) + rng.gauss(0, 0.5) for _ in range(60)]
            counts = [sum(each <= math.log(bound) for each in logs) for bound in BUCKETS[family]]
            for bound, count in zip((*map(str, BUCKETS[family]), "+Inf"), (*counts, len(logs)), strict=True):
                for step, at in enumerate(times):
                    yield f'{name}_bucket{{{labels},le="{bound}"}} {step * count} {at}\n'
            for step, at in enumerate(times):
                yield f"{name}_count{{{labels}}} {step * len(logs)} {at}\n"

    for name in ("vllm:num_requests_running", "vllm:num_requests_waiting"):
        yield f"# TYPE {name} gauge\n", gauge(name)
    yield "# TYPE vllm:request_success counter\n", finished()
    for family, name in LATENCIES.items():
        yield f"# TYPE {name} histogram\n", histogram(family, name)


if __name__ == "__main__":
    sys.exit(main())
