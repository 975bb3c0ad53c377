#!/usr/bin/env python3
"""Counts writes of the operator while nothing changes, for 1 and for 50 services, and after its restart.

The operator runs as a separate process for its own namespace; a proxy in front of the API server counts. Lease renewals
are not counted. Needs a cluster ($KUBECONFIG, or that of `make cluster-up`).

    hack/bench/at_rest.py --json FILE [--seconds 300] [--services 1 50]
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.services import a_service
from support.cluster import Cluster, connect, wait_until
from support.operator import operator
from support.proxy import Proxy, counted

QUIET_SECONDS = 10.0
NOWHERE = {"nodeSelector": {"llmservice.dev/no-such-node": "true"}}


def main() -> int:
    """Measure each number of services; returns 1 where anything was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long to watch (300)")
    parser.add_argument("--services", type=int, nargs="+", default=[1, 50], help="numbers of services (1 50)")
    options = parser.parse_args()
    cluster = connect()
    cluster.apply_crd()
    runs = [measure(cluster, count, options.seconds) for count in options.services]
    print(json.dumps(runs, indent=2))
    if options.json:
        options.json.write_text(json.dumps(runs, indent=2) + "\n")
    return 1 if any(run["writes_at_rest"] or run["writes_after_restart"] for run in runs) else 0


def measure(cluster: Cluster, count: int, seconds: float) -> dict[str, Any]:
    """One number of services, from their creation to the restart of the operator."""
    settings = {"LLMSERVICE_LEADER_ELECTION": "true"}
    with (
        cluster.namespace("at-rest") as namespace,
        Proxy(cluster.kubeconfig) as proxy,
        operator(proxy.kubeconfig, [namespace], settings) as process,
    ):
        begin = time.monotonic()
        for number in range(count):
            service = a_service(f"chat-{number}").with_replicas(1).with_spec(scheduling=NOWHERE).build()
            service["metadata"].pop("namespace", None)
            made = cluster.create(namespace, service)
            assert made.ok, made.message
        wait_until(lambda: _quiet(proxy, count), "the operator comes to rest", timeout=300)
        settled = max(each.at for each in proxy.writes()) - begin
        to_settle = len(proxy.writes())
        print(f"{count} services: settled after {settled:.1f} s and {to_settle} writes; now {seconds:g} s", flush=True)
        at_rest = len(proxy.requests)
        time.sleep(seconds)
        resting = proxy.requests[at_rest:]
        process.stop()
        restarted = len(proxy.requests)
        process.start()
        wait_until(
            lambda: process.metric("llmservice_operator_reconciles_total") >= count, "all are looked at", timeout=120
        )
        time.sleep(QUIET_SECONDS)
        return {
            "services": count,
            "seconds": seconds,
            "settled_s": round(settled, 1),
            "writes_to_settle": to_settle,
            "writes_at_rest": counted(each for each in resting if each.write and not each.lease),
            "lease_renewals_at_rest": sum(each.write and each.lease for each in resting),
            "writes_after_restart": counted(proxy.writes(restarted)),
        }


def _quiet(proxy: Proxy, count: int) -> bool:
    writes = proxy.writes()
    complete = sum(each.resource == "statefulsets" for each in writes) >= count
    return complete and time.monotonic() - max(each.at for each in writes) > QUIET_SECONDS


if __name__ == "__main__":
    raise SystemExit(main())
