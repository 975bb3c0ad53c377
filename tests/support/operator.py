"""The real operator as a separate process, with the kubeconfig of a test and its log."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llmservice_operator.config import allowed
from support.cluster import START_SECONDS, wait_until
from support.ports import free_port


class OperatorProcess:
    """One operator over ``namespaces`` (none: all of the cluster). It can be started again after it ended."""

    def __init__(
        self, kubeconfig: Path, namespaces: Sequence[str], log: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.log_file = log
        self.health_port, self.metrics_port = free_port(), free_port()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("LLMSERVICE_")}
        self._environment = {
            **inherited,
            "KUBECONFIG": str(kubeconfig),
            "LLMSERVICE_NAMESPACE": namespaces[0] if namespaces else "default",
            "LLMSERVICE_NAMESPACES": ",".join(namespaces),
            "LLMSERVICE_LEADER_ELECTION": "false",
            "LLMSERVICE_ALLOWED_PLACEMENT": json.dumps({name: ["*"] for name in allowed.FIELDS}),
            "LLMSERVICE_FIT": "Off",  # reading a model takes a pod, and most tests have none that could be read
            "LLMSERVICE_NETWORK_POLICY": "{}",
            "LLMSERVICE_SERVICES_PER_NAMESPACE": "0",  # benchmarks have a thousand in one
            "LLMSERVICE_HEALTH_PORT": str(self.health_port),
            "LLMSERVICE_METRICS_PORT": str(self.metrics_port),
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers /healthz and tells its metrics, which is before it acts."""
        assert not self.running, "the operator runs already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "llmservice_operator", "run"], env=self._environment, stdout=log, stderr=log
            )
        wait_until(self._answers, lambda: f"the operator answers\n{self.log()}", timeout=START_SECONDS)

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, as the kubelet sends it. Returns the exit status."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL: it gets no chance to end anything."""
        if self._process and self.running:
            self._process.kill()
            self._process.wait()

    def wait(self, timeout: float = 30.0) -> int:
        """Wait until it ends by itself. Returns the exit status."""
        assert self._process
        return self._process.wait(timeout)

    @property
    def pid(self) -> int:
        """The process, as the kernel numbers it."""
        assert self._process
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Everything that it has logged, over all its starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def metric(self, name: str) -> float:
        """Sum over all series of a metric."""
        (value,) = self.metrics(name)
        return value

    def metrics(self, *names: str) -> list[float]:
        """Sums over all series of some metrics, all of one moment."""
        lines = self._get(self.metrics_port, "/metrics").splitlines()
        starts = [(f"{name} ", f"{name}{{") for name in names]
        return [sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start)) for start in starts]

    def acts(self) -> bool:
        """Whether it is the one that acts."""
        return self.metric("llmservice_operator_leader") == 1

    def _answers(self) -> bool:
        assert self.running, f"the operator ended:\n{self.log()}"
        try:
            return self._get(self.health_port, "/healthz") == "ok\n" and bool(self._get(self.metrics_port, "/metrics"))
        except OSError:
            return False

    def _get(self, port: int, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def operator(
    kubeconfig: Path, namespaces: Sequence[str], settings: Mapping[str, str] | None = None
) -> Iterator[OperatorProcess]:
    """A running operator; killed afterwards. ``settings`` are environment variables."""
    with tempfile.TemporaryDirectory(prefix="operator-") as directory:
        process = OperatorProcess(kubeconfig, namespaces, Path(directory) / "operator.log", settings)
        try:
            process.start()
            yield process
        finally:
            process.kill()
