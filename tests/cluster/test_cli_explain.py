"""`kubectl llm explain`, `top` and Tab against a real API server and a real operator, through kubectl itself: for who
may do everything, and for a tenant who may read his services alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.services import COMMIT, a_service
from support.cluster import MERGE, Cluster, kubectl, wait_until
from support.operator import OperatorProcess, operator
from support.tenant import kubeconfig_of_tenant

READS = [{"apiGroups": ["llmservice.dev"], "resources": ["llmservices"], "verbs": ["get", "list"]}]
"""What the tenant may do, and nothing else."""
PRICES = {"NVIDIA-H100-80GB-HBM3": {"price": "2.49", "source": "contract 4711", "date": "2026-11-01"}}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def running(cluster: Cluster, namespace: str) -> Iterator[OperatorProcess]:
    """An operator of this namespace that holds its Lease there and knows prices."""
    settings = {
        "LLMSERVICE_LEADER_ELECTION": "true",
        "LLMSERVICE_COST": json.dumps({"currency": "EUR", "gpuHours": PRICES}),
    }
    with operator(cluster.kubeconfig, [namespace], settings) as process:
        wait_until(process.acts, "the operator acts")
        yield process


@pytest.fixture
def run(cluster: Cluster, namespace: str) -> Run:
    """`kubectl llm ...` in the test's namespace, as kubectl runs its plug-ins."""
    bin_directory = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_directory}:{Path(kubectl()).parent}:{os.environ['PATH']}"}
    environment.pop("NO_COLOR", None)

    def run(*words: str, kubeconfig: Path = cluster.kubeconfig, complete: bool = False) -> Any:
        start = [kubectl(), "__complete", "llm"] if complete else [kubectl(), "llm"]
        line = [*start, *words] if complete else [*start, *words, "-n", namespace]
        return subprocess.run(
            line,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**environment, "KUBECONFIG": str(kubeconfig)},
        )

    return run


@pytest.fixture
def tenant(cluster: Cluster, namespace: str, tmp_path: Path) -> Path:
    """The kubeconfig of a user with only the permissions READS."""
    return kubeconfig_of_tenant(cluster, namespace, READS, tmp_path)


def flat(done: subprocess.CompletedProcess[str]) -> str:
    """What was printed, wherever lines were broken."""
    return " ".join(done.stdout.split())


def test_a_service_that_no_node_takes_for_admin_and_tenant(
    cluster: Cluster, namespace: str, running: OperatorProcess, run: Run, tenant: Path
) -> None:
    service = a_service("chat").from_source("hf://Qwen/Qwen3-8B", COMMIT).on("NVIDIA-OF-TOMORROW").build()
    assert cluster.create(namespace, service).ok

    def reported() -> subprocess.CompletedProcess[str] | None:
        done = run("explain", "chat")
        return done if "Nodes" in done.stdout and "Why" in done.stdout else None

    done = wait_until(reported, lambda: f"it says why no node takes the pod\n{run('explain', 'chat').stdout}")
    assert done is not None and done.returncode == 2, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"chat in {namespace}: not Ready for ")
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    assert "each on 1 NVIDIA GPU (NVIDIA-OF-TOMORROW)" in flat(done)
    assert "Cost EUR 0.00 an hour (the service has no GPUs)" in flat(done)
    assert "nvidia.com/gpu" in flat(done).split("Why ")[1]
    assert "Unreadable" not in done.stdout and "\x1b" not in done.stdout

    of_tenant = run("explain", "chat", kubeconfig=tenant)
    assert of_tenant.returncode == 2, of_tenant.stderr
    assert flat(of_tenant).split("Why ")[1].split("Pods ")[0].split("Unreadable")[0] in flat(done)
    assert "Unreadable Events, Leases of the operator, pods, quotas (you lack the permission)" in flat(of_tenant)

    top = run("top", kubeconfig=tenant)
    assert (top.returncode, top.stdout) == (1, "") and "the permission to `list` pods" in top.stderr
    assert run("top", "--interval", "1").stdout.splitlines()[1].split()[:4] == ["chat", "0/1", "-", "-"]


def test_an_operator_that_was_killed_is_named(
    cluster: Cluster, namespace: str, running: OperatorProcess, run: Run
) -> None:
    assert cluster.create(namespace, a_service("chat").on_cpu().with_replicas(0).build()).ok
    wait_until(lambda: "status" in cluster.request("GET", cluster.services(namespace, "chat")).body, "it has a status")
    assert "Operator" not in run("explain", "chat").stdout
    running.kill()
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/llmservice-operator"
    old = cluster.request("PATCH", lease, {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}, content_type=MERGE)
    assert old.ok, old.message
    patch = {"spec": {"engine": {"maxNumSeqs": 7}}}
    assert cluster.request("PATCH", cluster.services(namespace, "chat"), patch, content_type=MERGE).ok
    done = run("explain", "chat")
    assert done.returncode == 2
    assert f"The operator is not running: its Lease llmservice-operator in namespace {namespace} was last" in flat(done)
    assert "has not observed the newest spec" in flat(done)


def test_tab_behind_kubectl_llm_offers_commands_and_services(cluster: Cluster, namespace: str, run: Run) -> None:
    for name in ("chat", "code"):
        assert cluster.create(namespace, a_service(name).build()).ok
    assert "explain\t" in run("", complete=True).stdout
    offered = run("explain", "-n", namespace, "c", complete=True).stdout.splitlines()
    assert [line.split()[0] for line in offered] == ["chat", "code", ":4"]
    assert f"{namespace}\n" in run("explain", "-n", namespace[:6], complete=True).stdout
    missing = Path("/nonexistent")
    assert run("explain", "", complete=True, kubeconfig=missing).stdout == ":4\n"
