"""The local cluster is a real one: what the project's other tests and its users rely on, seen from outside.

Stopping it is not tested here, since other tests use it at the same time: `hack/test` stops it last, and
`hack/cluster/check-clean` then compares the host with what it was before.
"""

import json
import secrets
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cache import CACHE
from support.cluster import ROOT, wait_until

pytestmark = pytest.mark.cluster_wide

SCRIPTS = ROOT / "hack/cluster"
KUBECTL = CACHE / "bin" / "kubectl"
IMAGE = "localhost/llmservice/cluster-addons:1"


def script(*words: str) -> str:
    """What a script of hack/cluster printed. Raises with its own words where it failed."""
    done = subprocess.run([str(SCRIPTS / words[0]), *words[1:]], text=True, capture_output=True, timeout=180)
    assert done.returncode == 0, f"hack/cluster/{' '.join(words)} failed:\n{done.stderr}"
    return done.stdout.strip()


def kubectl(*words: str, given: object = None) -> str:
    """What the cluster's own kubectl printed; `given` is applied as JSON from standard input."""
    done = subprocess.run(
        [KUBECTL, "--kubeconfig", script("kubeconfig"), *words],
        input=None if given is None else json.dumps(given),
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, f"kubectl {' '.join(words)} failed:\n{done.stderr}"
    return done.stdout


@pytest.fixture
def namespace() -> Iterator[str]:
    """A fresh namespace of the local cluster that enforces Pod Security "restricted"."""
    name = f"local-{secrets.token_hex(4)}"
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": enforced}}
    kubectl("apply", "-f", "-", given=wanted)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def pod(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    """A pod as Pod Security "restricted" wants it."""
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **spec.pop("metadata", {})},
        "spec": {
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **spec,
        },
    }


def run_to_end(namespace: str, wanted: dict[str, Any]) -> str:
    """Runs a pod to its end and returns what it printed."""
    name = wanted["metadata"]["name"]
    kubectl("apply", "-n", namespace, "-f", "-", given=wanted)

    def phase() -> str:
        return kubectl("get", "pod", "-n", namespace, name, "-o", "jsonpath={.status.phase}")

    wait_until(lambda: phase() in ("Succeeded", "Failed"), f"pod {name} has ended", timeout=60)
    words = kubectl("logs", "-n", namespace, name)
    assert phase() == "Succeeded", f"pod {name} failed and said: {words}"
    return words


def test_starting_a_running_cluster_changes_nothing_and_is_quick() -> None:
    before = Path(script("kubeconfig")).read_text()
    since = time.monotonic()
    script("up")
    assert time.monotonic() - since < 5
    assert Path(script("kubeconfig")).read_text() == before


def test_a_pod_reaches_a_service_by_its_name(namespace: str) -> None:
    asks = pod("asks", "wget", "-q", "-O", "-", "http://prometheus.monitoring.svc.cluster.local:9090/-/ready")
    assert "Ready" in run_to_end(namespace, asks)


def test_exec_and_logs_reach_a_running_pod(namespace: str) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", given=pod("talks", "sh", "-c", "echo hello; sleep 600"))
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/talks", "--timeout=60s")
    assert kubectl("logs", "-n", namespace, "talks") == "hello\n"
    assert kubectl("exec", "-n", namespace, "talks", "--", "sh", "-c", "echo in $HOSTNAME") == "in talks\n"


def test_a_forwarded_port_answers() -> None:
    forward = subprocess.Popen(
        [KUBECTL, "--kubeconfig", script("kubeconfig"), "port-forward", "-n", "monitoring", "svc/prometheus", ":9090"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert forward.stdout is not None
        port = forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=10) as answer:
            assert answer.status == 200
    finally:
        forward.terminate()
        forward.wait(timeout=10)


def test_a_claimed_volume_keeps_what_a_pod_without_root_wrote(namespace: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    kubectl("apply", "-n", namespace, "-f", "-", given=claim)
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
    mounts = {"volumeMounts": [{"name": "models", "mountPath": "/models"}]}
    run_to_end(namespace, pod("writes", "sh", "-c", "echo kept >/models/file", volumes=volumes, container=mounts))
    read = run_to_end(namespace, pod("reads", "cat", "/models/file", volumes=volumes, container=mounts))
    assert read == "kept\n"


def test_prometheus_finds_a_pod_that_asks_for_it(namespace: str) -> None:
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "9999"}
    metadata = {"annotations": annotations, "labels": {"app.kubernetes.io/instance": "chat"}}
    kubectl("apply", "-n", namespace, "-f", "-", given=pod("measured", "sleep", "600", metadata=metadata))

    def labels() -> list[dict[str, str]]:
        proxy = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/targets?state=active"
        targets = json.loads(kubectl("get", "--raw", proxy))["data"]["activeTargets"]
        return [target["labels"] for target in targets if target["labels"]["namespace"] == namespace]

    wait_until(lambda: bool(labels()), "Prometheus has the pod among its targets", timeout=60)
    (found,) = labels()
    assert found["pod"] == "measured"
    assert found["app_kubernetes_io_instance"] == "chat"
    assert found["instance"].endswith(":9999")


@pytest.fixture
def one_more_gpu() -> Iterator[int]:
    """The node with one GPU more than before; put back afterwards."""
    before = int(kubectl("get", "node", "gpu-0", "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}"))
    script("gpus", str(before + 1))
    yield before + 1
    script("gpus", str(before))


def test_the_scheduler_counts_the_gpus(namespace: str, one_more_gpu: int) -> None:
    def wants(name: str, gpus: int) -> dict[str, Any]:
        return pod(name, "sleep", "600", container={"resources": {"limits": {"nvidia.com/gpu": gpus}}})

    kubectl("apply", "-n", namespace, "-f", "-", given=wants("too-many", one_more_gpu + 1))
    kubectl("apply", "-n", namespace, "-f", "-", given=wants("fits", 1))
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/fits", "--timeout=60s")
    kubectl("wait", "-n", namespace, "--for=condition=PodScheduled=False", "pod/too-many", "--timeout=60s")
    why = kubectl("get", "pod", "-n", namespace, "too-many", "-o", "jsonpath={.status.conditions[0].message}")
    assert "Insufficient nvidia.com/gpu" in why
    label = kubectl("get", "node", "gpu-0", "-o", r"jsonpath={.metadata.labels.nvidia\.com/gpu\.count}")
    assert label == str(one_more_gpu)


@pytest.fixture
def fake_nodes() -> int:
    """Three nodes of kwok's; they stay, as others may use them meanwhile."""
    script("kwok", "up", "3")
    return 3


def test_fake_nodes_run_the_pods_that_tolerate_them(namespace: str, fake_nodes: int) -> None:
    tolerates = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]
    eight = {"resources": {"limits": {"nvidia.com/gpu": 8}}}
    for i in range(fake_nodes):
        far = pod(f"far-{i}", "unused", nodeSelector={"type": "kwok"}, tolerations=tolerates, container=eight)
        kubectl("apply", "-n", namespace, "-f", "-", given=far)
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    nodes = kubectl("get", "pods", "-n", namespace, "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert sorted(nodes) == [f"fake-{i + 1}" for i in range(fake_nodes)]
