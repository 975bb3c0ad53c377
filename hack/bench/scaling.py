#!/usr/bin/env python3
"""Measures what scaling on latency costs the operator: queries, CPU and memory, for 10 and for 1,000 services.

The operator runs as a separate process for its own namespace and serves the metrics API; a Prometheus in another
process returns other latencies at each interval. Every service has a ready pod on a fake node and an HPA, which the
cluster's controller evaluates. CPU is that of the operator's process, as a share of one core.

Needs the local cluster for itself: external.metrics.k8s.io is the operator's meanwhile.

    LLMSERVICE_HPA_SYNC=15s hack/cluster/up     # Kubernetes' default; the local cluster's HPAs sync every 5 s otherwise
    hack/bench/scaling.py --json FILE [--seconds 300] [--services 10 1000]
"""

import argparse
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import support.prometheus
from builders.services import COMMIT, a_service
from llmservice_contract.metrics import BUCKETS
from llmservice_operator.autoscaling.prometheus_queries import queries
from support.aggregation import FAKE_NODE, SETTINGS, registered
from support.cluster import Cluster, connect, wait_until
from support.operator import OperatorProcess, operator
from support.prometheus import FakePrometheus, Service

INTERVAL_SECONDS = 15
TARGET_SECONDS = 0.2
REQUESTS = 60
"""In each service's window: as many times make its histograms."""
PODS_OF_A_NODE = 200
QUERIES = len(queries(60))
"""Of a look that asks for everything. One that leaves out what has no target has fewer."""
ROUNDS = "llmservice_operator_scaling_seconds_count"
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure each number of services; returns 1 if an interval has more queries than there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--seconds", type=int, default=300, help="how long to watch (300)")
    parser.add_argument("--services", type=int, nargs="+", default=[10, 1000], help="numbers of services (10 1000)")
    options = parser.parse_args()
    cluster = connect()
    cluster.apply_crd()
    with fake_nodes(cluster, max(options.services) // PODS_OF_A_NODE + 1):
        runs = [measure(cluster, count, options.seconds) for count in options.services]
    print(json.dumps(runs, indent=2))
    if options.json:
        options.json.write_text(json.dumps(runs, indent=2) + "\n")
    return 0 if all(run["prometheus_queries_per_interval"] <= QUERIES for run in runs) else 1


def measure(cluster: Cluster, count: int, seconds: int) -> dict[str, Any]:
    """One number of services, from their creation on."""
    names = [f"chat-{number}" for number in range(count)]
    with cluster.namespace("scaling") as namespace, prometheus(namespace, names) as (url, counted):
        settings = {
            **SETTINGS,
            "LLMSERVICE_SCALING_INTERVAL_SECONDS": str(INTERVAL_SECONDS),
            "LLMSERVICE_PROMETHEUS_URL": url,
        }
        with registered(cluster, namespace), operator(cluster.kubeconfig, [namespace], settings) as process:
            begin = time.monotonic()
            for name in names:
                create(cluster, namespace, name)
            wait_until(lambda: scaled(cluster, namespace) == count, "every HPA has a number", timeout=1800, every=5)
            print(f"{count} services follow latency after {time.monotonic() - begin:.0f} s", flush=True)
            wait_until(rests(process), "what their beginning left to do is done", timeout=1800, every=INTERVAL_SECONDS)
            print(f"and are all as they stay after {time.monotonic() - begin:.0f} s", flush=True)
            return {"services": count, **watched(process, counted, seconds)}


def watched(process: OperatorProcess, counted: multiprocessing.connection.Connection, seconds: int) -> dict[str, Any]:
    """The figures of some seconds from now on, in whole intervals from the middle of one to that of another, so that no
    query is under way when they are counted."""
    rounds = process.metric(ROUNDS)
    wait_until(lambda: process.metric(ROUNDS) > rounds, "a decision ends", timeout=4 * INTERVAL_SECONDS)
    time.sleep(INTERVAL_SECONDS / 2)
    before = Account(process, counted)
    end = before.at + max(1, round(seconds / INTERVAL_SECONDS)) * INTERVAL_SECONDS
    peak = 0.0
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(1.0, left))
        peak = max(peak, resident_mib(process))
    after = Account(process, counted)
    elapsed = after.at - before.at
    intervals = after.rounds - before.rounds
    return {
        "seconds": round(elapsed, 1),
        "prometheus_queries_per_interval": round((after.queries - before.queries) / intervals, 2),
        "metrics_api_requests_per_second": round((after.requests - before.requests) / elapsed, 1),
        "operator_cpu_percent_of_one_core": round(100 * (after.cpu - before.cpu) / elapsed, 2),
        "operator_resident_mib": round(peak, 1),
        "decision_seconds": round((after.deciding - before.deciding) / intervals, 3),
    }


def rests(process: OperatorProcess) -> Callable[[], bool]:
    """Whether no service was looked at since the answer before this one."""
    looks = -1.0

    def rest() -> bool:
        nonlocal looks
        before, looks = looks, process.metric("llmservice_operator_reconcile_seconds_count")
        return looks == before

    return rest


class Account:
    """What was counted up to now; the CPU time comes first, as reading the operator's metrics takes some."""

    def __init__(self, process: OperatorProcess, counted: multiprocessing.connection.Connection) -> None:
        self.at = time.monotonic()
        self.cpu = cpu_seconds(process)
        self.rounds, self.deciding, self.requests = process.metrics(
            ROUNDS, "llmservice_operator_scaling_seconds_sum", "llmservice_operator_metrics_api_requests_total"
        )
        counted.send("queries")
        self.queries = int(counted.recv())


def cpu_seconds(process: OperatorProcess) -> float:
    """User and system time of the operator up to now."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(process: OperatorProcess) -> float:
    """Memory that the operator holds now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def create(cluster: Cluster, namespace: str, name: str) -> None:
    """One service that is scaled, with a pod on a fake node."""
    scaling = {"maxReplicas": 2, "targets": {"timeToFirstToken": {"p99": f"{TARGET_SECONDS:g}s"}}}
    built = a_service(name).from_source("hf://llmservice/tiny", COMMIT).on_cpu().with_replicas(1)
    service = built.with_spec(scheduling=FAKE_NODE, scaling=scaling).build()
    service["metadata"].pop("namespace", None)
    made = cluster.create(namespace, service)
    assert made.ok, made.message


def scaled(cluster: Cluster, namespace: str) -> int:
    """HPAs that act on a number."""
    found = cluster.request("GET", f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers").body
    active = {"type": "ScalingActive", "status": "True"}
    return sum(
        any(active.items() <= each.items() for each in item.get("status", {}).get("conditions") or ())
        for item in found["items"]
    )


@contextlib.contextmanager
def fake_nodes(cluster: Cluster, count: int) -> Iterator[None]:
    """At least so many nodes on which every pod is Ready at once; those that were there before stay."""
    kwok = str(ROOT / "hack" / "cluster" / "kwok")
    before = len(cluster.request("GET", "/api/v1/nodes", labelSelector="type=kwok").body["items"])
    subprocess.run([kwok, "up", str(max(before, count))], check=True)
    try:
        yield
    finally:
        if not before:
            subprocess.run([kwok, "down"], check=True)


@contextlib.contextmanager
def prometheus(namespace: str, names: list[str]) -> Iterator[tuple[str, multiprocessing.connection.Connection]]:
    """The URL of a Prometheus in a process of its own, and a connection that tells how often it was asked."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, namespace, names), daemon=True)
    process.start()
    try:
        yield str(here.recv()), here
    finally:
        process.kill()
        process.join()


def serve(counted: multiprocessing.connection.Connection, namespace: str, names: list[str]) -> None:
    """Latencies of these services, within the target and other ones each interval, for ever. Each histogram has as many
    buckets as an engine's."""
    support.prometheus.BUCKETS = BUCKETS["time_to_first_token"]
    with FakePrometheus() as fake:
        counted.send(fake.url)
        while True:
            fake.set_all({(namespace, name): latencies() for name in names})
            end = time.monotonic() + INTERVAL_SECONDS
            while (left := end - time.monotonic()) > 0:
                if counted.poll(left):
                    counted.recv()
                    counted.send(fake.queries)


def latencies() -> Service:
    """One service's last minute."""
    middle = TARGET_SECONDS / 3 * random.uniform(0.8, 1.2)
    first = [middle * random.lognormvariate(0, 0.2) for _ in range(REQUESTS)]
    between = [each / 10 for each in first]
    whole = [each * 20 for each in first]
    return Service(ttft=first, itl=between, e2e=whole, running=1.0, finished=REQUESTS / 60)


if __name__ == "__main__":
    raise SystemExit(main())
