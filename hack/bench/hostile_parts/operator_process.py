"""The operator's process and its heartbeat, read from outside."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from hostile_parts.measured_operator import LAYOUT
from overhead.processes import rss_mib, tree
from overhead.servers import free_port

START_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
NO_MIB_ABOVE = 4 << 30
"""Address space of the operator at most: a case that makes it grow without end must not take the machine along."""


class OperatorProcess:
    """One operator on ``kubeconfig``; it can be started again after it was killed."""

    def __init__(self, kubeconfig: Path, directory: Path, settings: Mapping[str, str]) -> None:
        self._beats = directory / "beats"
        self._beats.write_bytes(bytes(LAYOUT.size))
        with self._beats.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), LAYOUT.size)
        self.log = directory / "operator.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("LLMSERVICE_")}
        self._environment = inherited | {
            "KUBECONFIG": str(kubeconfig),
            "LLMSERVICE_NAMESPACE": "llmservice-system",
            "LLMSERVICE_LEADER_ELECTION": "false",
            "LLMSERVICE_HEALTH_PORT": "0",
            # No authority of this machine is trusted, and each client would read them all.
            "SSL_CERT_FILE": os.devnull,
            **settings,
        }
        self.metrics_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once its loop runs. Raises TimeoutError if it does not."""
        LAYOUT.pack_into(self._memory, 0, 0.0, 0.0, 0.0)
        self.metrics_port = free_port()
        script = Path(__file__).with_name("measured_operator.py")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, script, self._beats],
                env=self._environment | {"LLMSERVICE_METRICS_PORT": str(self.metrics_port)},
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_bounded,
            )
        deadline = time.monotonic() + START_SECONDS
        while LAYOUT.unpack_from(self._memory)[0] == 0:
            if time.monotonic() > deadline or not self.running:
                raise TimeoutError(f"the operator does not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, and whatever processes it has made."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def forget_stalls(self) -> None:
        """What was measured up to now does not count."""
        LAYOUT.pack_into(self._memory, 0, LAYOUT.unpack_from(self._memory)[0], 0.0, 0.0)

    def longest_stall(self) -> float:
        """Seconds since ``forget_stalls`` in which the loop did nothing, the present ones included."""
        last, longest, _ = LAYOUT.unpack_from(self._memory)
        return max(float(longest), time.monotonic() - float(last)) if last else 0.0

    def stall_cpu(self) -> float:
        """CPU seconds of the loop's thread in its longest stall."""
        return float(LAYOUT.unpack_from(self._memory)[2])

    def present_stall(self) -> float:
        """Seconds since the loop's last beat."""
        return time.monotonic() - float(LAYOUT.unpack_from(self._memory)[0])

    def cpu_seconds(self) -> float:
        """Of the operator and the processes that it has made and waited for."""
        if self._process is None or not self.running:
            return 0.0
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(each) for each in fields[11:15]) / TICKS

    def rss_mib(self) -> float:
        """Memory of its own process."""
        return rss_mib(self._process.pid) if self._process is not None and self.running else 0.0

    def processes(self) -> int:
        """How many it is, with those that it has made."""
        return len(tree(self._process.pid)) if self._process is not None and self.running else 0

    def said(self, text: str) -> int:
        """How often its log has this."""
        return self.log.read_text(errors="replace").count(text)


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (NO_MIB_ABOVE, NO_MIB_ABOVE))
