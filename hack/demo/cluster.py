"""The cluster of the demo: the user's own if KUBECONFIG is set, otherwise the local one with its images."""

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmservice_operator import __version__
from progress import Step, StepFailed, run_logged

ROOT = Path(__file__).resolve().parents[2]
IS_OWN = bool(os.environ.get("KUBECONFIG"))
"""Whether the user named a cluster of their own."""

PROMETHEUS_URL = os.environ.get("PROMETHEUS_URL", "" if IS_OWN else "http://prometheus.monitoring:9090")
"""Prometheus as the operator's pod reaches it. Empty: the demo leaves scaling out."""


@dataclasses.dataclass(frozen=True)
class Images:
    """Images that the cluster's nodes have or can pull."""

    operator: str
    runtime_cpu: str
    gateway: str = ""
    """Empty: the demo has no gateway, and leaves scaling from zero out."""

    def helm_values(self) -> list[str]:
        """Helm's arguments that name these images."""
        values: list[str] = []
        named = (("image", self.operator), ("runtime.images.cpu", self.runtime_cpu), ("gateway.image", self.gateway))
        for key, image in (each for each in named if each[1]):
            repository, _, tag = image.rpartition(":")
            values += ["--set-string", f"{key}.repository={repository}", "--set-string", f"{key}.tag={tag}"]
        return values


LOCAL_IMAGES = Images(
    *(f"localhost/llmservice/{name}:{__version__}" for name in ("operator", "runtime-cpu", "gateway"))
)
BUILT = ("operator", "runtime-cpu", "gateway")
"""What hack/cluster/images/build calls them."""


def own_images() -> Images:
    """The images for a user's own cluster, from OPERATOR_IMAGE and RUNTIME_CPU_IMAGE; StepFailed without these. With
    GATEWAY_IMAGE the demo has a gateway."""
    operator, runtime = os.environ.get("OPERATOR_IMAGE"), os.environ.get("RUNTIME_CPU_IMAGE")
    if not operator or not runtime:
        raise StepFailed(
            "KUBECONFIG is set, so the demo runs on that cluster; its nodes need images that they can pull.\n"
            "Build and push them as docs/install.md shows, then run:\n"
            f"  make demo OPERATOR_IMAGE=REGISTRY/llmservice/operator:{__version__} "
            f"RUNTIME_CPU_IMAGE=REGISTRY/llmservice/runtime-cpu:{__version__}\n"
            f"With GATEWAY_IMAGE=REGISTRY/llmservice/gateway:{__version__} it shows scaling from zero, too.\n"
            "Or unset KUBECONFIG, and the demo starts a local cluster."
        )
    return Images(operator, runtime, os.environ.get("GATEWAY_IMAGE", ""))


def gateway_values(images: Images, namespace: str) -> list[str]:
    """Helm's arguments that switch the gateway on, with what a small node has room for; or off, without an image."""
    if not images.gateway:
        return ["--set", "gateway.type=None"]
    values = {"type": "NGINX", "defaultNamespace": namespace, "replicas": "1"}
    values |= {"resources.requests.cpu": "50m", "resources.requests.memory": "128Mi"}
    return [each for name, value in values.items() for each in ("--set", f"gateway.{name}={value}")]


def scaling_values() -> list[str]:
    """Helm's arguments that make scaling follow quickly, so that its story is short; or that leave scaling out."""
    if not PROMETHEUS_URL:
        return ["--set", "scaling.adapter=none"]
    quick = ["--set", "scaling.intervalSeconds=5", "--set", "scaling.prometheus.windowSeconds=30"]
    return ["--set-string", f"scaling.prometheus.url={PROMETHEUS_URL}", *quick]


def start_local(step: Step, log: Path, script: str, *arguments: str) -> None:
    """Run one of the local cluster's scripts, such as ``hack/cluster/up``."""
    run_logged(step, log, [str(ROOT / script), *arguments])


@contextmanager
def images_ahead(log: Path) -> Iterator[None]:
    """Meanwhile images are built and brought to the node's store. If that fails, the step that needs them says why."""
    command = [str(ROOT / "hack/cluster/images/build"), "--ahead", *BUILT]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def local_kubeconfig() -> str:
    """Path of the local cluster's kubeconfig."""
    return subprocess.check_output([str(ROOT / "hack/cluster/kubeconfig")], text=True).strip()
