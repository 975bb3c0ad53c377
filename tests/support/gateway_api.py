"""The CRDs of the Gateway API and of its inference extension, on a cluster for the time of a test, and reports."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cache import CACHE
from support.cluster import APPLY, START_SECONDS, Cluster, wait_until
from support.ports import free_port

DIRECTORY = CACHE / "gateway-api"
ROUTES = "gateway.networking.k8s.io_httproutes"
POOLS = "inference.networking.k8s.io_inferencepools"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def every_crd() -> tuple[str, ...]:
    """Names of all files of CRDs."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.yaml")))


@contextlib.contextmanager
def crds(cluster: Cluster, *files: str) -> Iterator[None]:
    """These CRDs are served. Those that were not there before are deleted afterwards, with all their objects."""
    made = []
    try:
        for file in files:
            path = DIRECTORY / f"{file}.yaml"
            if not path.exists():
                pytest.fail(f"{path} is missing: run hack/cluster/install-tools")
            crd = yaml.load(path.read_text(), yaml.CSafeLoader)
            where = f"{DEFINITIONS}/{crd['metadata']['name']}"
            if not cluster.request("GET", where).ok:
                made.append(where)
            answer = cluster.request(
                "PATCH", where, crd, content_type=APPLY, fieldManager="llmservice-tests", force="true"
            )
            assert answer.ok, answer.message
            group, names = crd["spec"]["group"], crd["spec"]["names"]
            versions = [each["name"] for each in crd["spec"]["versions"] if each["served"]]
            for version in versions:
                served = f"/apis/{group}/{version}/{names['plural']}"
                wait_until(
                    lambda served=served: cluster.request("GET", served).ok,
                    f"the API server serves {served}",
                    timeout=START_SECONDS,
                )  # type: ignore[misc]
        yield
    finally:
        for where in made:
            cluster.request("DELETE", where)
        for where in made:
            wait_until(
                lambda where=where: not cluster.request("GET", where).ok, f"{where} is gone", timeout=START_SECONDS
            )  # type: ignore[misc]


@contextlib.contextmanager
def endpoint_picker(directory: Path, kubeconfig: Path, namespace: str, pool: str) -> Iterator[str]:
    """The inference extension's own endpoint picker for a pool; yields its address."""
    program = CACHE / "bin" / "lwepp"
    if not program.exists():
        pytest.fail(f"the endpoint picker is not on this machine ({program}): run hack/cluster/endpoint-picker build")
    port, health = free_port(), free_port()
    arguments = [f"--pool-name={pool}", f"--pool-namespace={namespace}", "--secure-serving=false", "--metrics-port=0"]
    arguments += [f"--grpc-port={port}", f"--grpc-health-port={health}"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
    with (directory / "endpoint-picker.log").open("wb") as log:
        environment = {**inherited, "KUBECONFIG": str(kubeconfig)}
        process = subprocess.Popen([program, *arguments], env=environment, stdout=log, stderr=log)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def picked(address: str) -> str:
    """The endpoint that a picker chooses for a request; empty while it knows none."""
    done = subprocess.run([CACHE / "bin" / "ask-endpoint-picker", address], capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def report(cluster: Cluster, path: str, gateway: str, *conditions: dict[str, Any], namespace: str = "") -> None:
    """What the controller of a Gateway writes into the status of the object at ``path``."""
    live = cluster.request("GET", path).body
    common = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": live["metadata"]["generation"]}
    entry = {
        "parentRef": {"name": gateway, **({"namespace": namespace} if namespace else {})},
        "controllerName": "example.com/gateway",
        "conditions": [{"message": "", "reason": each["type"], **common, **each} for each in conditions],
    }
    body = {"status": {"parents": [entry]}}
    answer = cluster.request("PATCH", f"{path}/status", body, content_type="application/merge-patch+json")
    assert answer.ok, answer.message
