"""What processes do, read from a /proc that the test writes, and from this machine's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmservice_runtime.vllm_plugins.engine_activity import EngineActivity, read_parents, read_threads
from llmservice_runtime.vllm_plugins.engine_watch import Activity


class Proc:
    """A /proc with process 1, the API server, and the clock. The engine is process 2."""

    def __init__(self, directory: Path, root: int | None = 2) -> None:
        self.directory = directory
        self.seconds = 100.0
        self.gpu = False
        self.put(1, 0)
        self.activity = EngineActivity(lambda: self.gpu, root, directory, lambda: self.seconds)

    def put(self, pid: int, parent: int, state: str = "S", ran: float = 0.0, waited: float = 0.0) -> None:
        """A process of one thread."""
        self.thread(pid, pid, parent, state, ran, waited)
        (self.directory / str(pid) / "stat").write_text(stat(pid, state, parent))

    def thread(self, pid: int, tid: int, parent: int, state: str = "S", ran: float = 0.0, waited: float = 0.0) -> None:
        task = self.directory / str(pid) / "task" / str(tid)
        task.mkdir(parents=True, exist_ok=True)
        (task / "stat").write_text(stat(tid, state, parent))
        (task / "schedstat").write_text(f"{ran * 1e9:.0f} {waited * 1e9:.0f} 7\n")

    def read(self) -> Activity:
        """The activity of the second that ends now."""
        self.seconds += 1
        return self.activity.read()


def stat(number: int, state: str, parent: int) -> str:
    return f"{number} (VLLM::x) y) {state} {parent} {'0 ' * 20}\n"


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    made = Proc(tmp_path)
    made.put(2, 1)
    made.put(3, 2)
    made.read()
    return made


def test_processes_that_compute_are_busy(proc: Proc) -> None:
    assert proc.read() is Activity.QUIET
    proc.put(3, 2, ran=0.9)
    assert proc.read() is Activity.BUSY
    assert proc.read() is Activity.QUIET
    # A compiler that was started meanwhile.
    proc.put(4, 3, ran=0.8)
    assert proc.read() is Activity.BUSY


def test_a_thread_that_others_keep_from_the_cpu_computes(proc: Proc) -> None:
    proc.thread(3, 33, 2, "R", ran=0.02, waited=0.9)
    assert proc.read() is Activity.BUSY


def test_threads_that_wake_up_now_and_then_compute_nothing(proc: Proc) -> None:
    """On a busy machine each of them waits for a CPU, too."""
    for second in range(1, 6):
        for tid in range(30, 40):
            proc.thread(3, tid, 2, "R", ran=0.01 * second, waited=0.2 * second)
        assert proc.read() is Activity.QUIET


def test_without_counts_of_the_kernel_the_state_decides(proc: Proc) -> None:
    for state, expected in (("S", Activity.QUIET), ("R", Activity.BUSY)):
        proc.put(3, 2, state)
        (proc.directory / "3" / "task" / "3" / "schedstat").unlink()
        assert proc.read() is expected


def test_the_first_reading_claims_nothing(tmp_path: Path) -> None:
    made = Proc(tmp_path)
    made.put(2, 1)
    assert [made.read(), made.read()] == [Activity.BUSY, Activity.QUIET]


def test_only_its_own_processes_count(proc: Proc) -> None:
    proc.put(1, 0, "R", ran=50)
    proc.put(9, 1, "T", ran=50)
    assert proc.read() is Activity.QUIET
    proc.put(2, 1, ran=50)
    assert proc.read() is Activity.BUSY


def test_without_a_process_the_descendants_of_this_one_count(tmp_path: Path) -> None:
    made, own = Proc(tmp_path, root=None), os.getpid()
    made.put(own, 1)
    made.put(2, own)
    made.read()
    made.put(own, 1, "R", ran=50)
    assert made.read() is Activity.QUIET
    made.put(2, own, ran=50)
    assert made.read() is Activity.BUSY


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("T", Activity.STOPPED),
        ("t", Activity.TRACED),
        ("D", Activity.BUSY),  # it waits for a disk or a driver
        ("Z", Activity.QUIET),
    ],
)
def test_the_state_of_a_process_counts(proc: Proc, state: str, expected: Activity) -> None:
    proc.put(3, 2, state)
    assert proc.read() is expected


def test_a_stopped_process_stops_the_engine_whatever_the_others_do(proc: Proc) -> None:
    proc.put(2, 1, "T")
    proc.put(3, 2, "R", ran=0.9)
    assert proc.read() is Activity.STOPPED


def test_a_gpu_that_computes_is_activity(proc: Proc) -> None:
    proc.gpu = True
    assert proc.read() is Activity.BUSY


def test_without_processes_nothing_is_claimed(tmp_path: Path) -> None:
    made = Proc(tmp_path)
    made.read()
    assert made.read() is Activity.BUSY


def test_the_kernel_reports_a_stopped_child() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        parents, threads = dict(read_parents(Path("/proc"))), dict(read_threads(Path("/proc"), child.pid))
        child.send_signal(signal.SIGCONT)
        child.communicate(b"\n")
    assert parents[child.pid] == os.getpid()
    assert threads[child.pid].state == "T"
