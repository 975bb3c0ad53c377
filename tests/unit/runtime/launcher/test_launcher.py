"""What the launcher does with its child: signals, output, orphans, exit codes and termination message.

The child is a small Python program in place of vLLM; the launcher runs in a process of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmservice_contract.causes import DISK_FULL, KILLED
from llmservice_contract.diagnosis import diagnosis_from_json

LAUNCHER = """
import os, pathlib, sys
from llmservice_runtime.launcher import launcher
launcher.GRACE_SECONDS = 0.3
launcher.STOP_SECONDS = float(os.environ.pop("STOP_SECONDS"))
code = os.environ.pop("BEFORE_STOP", "")
before_stop = (lambda: exec(code, {})) if code else None
command = [sys.executable, "-u", "-c", sys.argv[1]]
sys.exit(launcher.run(command, os.environ, pathlib.Path(sys.argv[2]), before_stop))
"""
PATIENCE_SECONDS = 20


class Launched:
    """A launcher with its child, and what they wrote."""

    def __init__(self, program: str, directory: Path, before_stop: str, stop_seconds: float) -> None:
        self.termination_log = directory / "termination-log"
        self.release = directory / "release"
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, program, str(self.termination_log)],
            env=os.environ
            | {"RELEASE": str(self.release), "BEFORE_STOP": before_stop, "STOP_SECONDS": str(stop_seconds)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().decode().strip()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal and waits until the launcher has taken it."""
        self.process.send_signal(number)
        until(lambda: self.status("ShdPnd") == "0" * 16)

    def status(self, key: str) -> str:
        return process_status(self.process.pid, key)

    def end(self) -> tuple[int, bytes, bytes]:
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out, err

    @property
    def last_words(self) -> str | None:
        return self.termination_log.read_text() if self.termination_log.exists() else None


def process_status(pid: int, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(key + ":"))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and process_status(int(entry.name), "PPid") == str(pid):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    started: list[Launched] = []

    def start(program: str, before_stop: str = "", stop_seconds: float = PATIENCE_SECONDS) -> Launched:
        started.append(Launched(program, tmp_path, before_stop, stop_seconds))
        return started[-1]

    yield start
    for launched in started:
        launched.process.kill()
        launched.process.communicate()


WAIT_FOR_RELEASE = """
import os, signal, sys, time
def wait():
    while not os.path.exists(os.environ["RELEASE"]): time.sleep(0.01)
"""
COUNT_SIGNALS = (
    WAIT_FOR_RELEASE
    + """
got = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, frame: got.append(int(number)))
print("ready")
while not got: time.sleep(0.01)
print("stopping")
wait()
print(got)
"""
)
ORPHAN = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        IGNORE
        os.close(2)
        print(os.getpid())
        os.close(1)
        while True: signal.pause()
    os._exit(0)
os.wait()
"""


def test_output_passes_through_byte_for_byte(launch: Callable[..., Launched]) -> None:
    code, out, err = launch(
        r"import sys; sys.stdout.buffer.write(b'\xff\x00\r1%\r2%\n' + b'x' * 3_000_000); sys.stderr.write('oh')"
    ).end()
    assert out == b"\xff\x00\r1%\r2%\n" + b"x" * 3_000_000
    assert err.startswith(b"oh")
    assert code == 0


def test_the_exit_code_is_the_childs(launch: Callable[..., Launched]) -> None:
    assert launch("import sys; sys.exit(7)").end()[0] == 7


def test_a_stop_signal_reaches_the_child_once(launch: Callable[..., Launched]) -> None:
    launched = launch(COUNT_SIGNALS)
    assert launched.line() == "ready"
    launched.signal(signal.SIGTERM)
    assert launched.line() == "stopping"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        launched.signal(number)
    launched.release.touch()
    code, out, _err = launched.end()
    assert (code, out.decode().strip()) == (0, str([int(signal.SIGTERM)]))


WAIT_FOR_DRAIN = """
import os, time
print("draining", flush=True)
while not os.path.exists(os.environ["RELEASE"] + "-drain"): time.sleep(0.01)
print("drained", flush=True)
"""


def test_a_stop_signal_waits_for_what_comes_before(launch: Callable[..., Launched]) -> None:
    launched = launch(COUNT_SIGNALS, before_stop=WAIT_FOR_DRAIN)
    assert launched.line() == "ready"
    launched.signal(signal.SIGTERM)
    assert launched.line() == "draining"
    for number in (signal.SIGTERM, signal.SIGINT):
        launched.signal(number)
    launched.release.with_name("release-drain").touch()
    assert [launched.line(), launched.line()] == ["drained", "stopping"]
    launched.release.touch()
    code, out, _err = launched.end()
    assert (code, out.decode().strip()) == (0, str([int(signal.SIGTERM)]))


def test_output_passes_while_it_waits_and_the_childs_end_ends_the_wait(launch: Callable[..., Launched]) -> None:
    program = WAIT_FOR_RELEASE + "print('ready'); wait(); print('the last line'); sys.exit(3)"
    launched = launch(program, before_stop=WAIT_FOR_DRAIN)
    assert launched.line() == "ready"
    launched.signal(signal.SIGTERM)
    assert launched.line() == "draining"
    launched.release.touch()
    assert launched.line() == "the last line"
    assert launched.end()[0] == 3


def test_where_what_comes_before_fails_the_child_is_stopped_all_the_same(launch: Callable[..., Launched]) -> None:
    launched = launch("import signal; print('ready'); signal.pause()", before_stop="raise OSError('no')")
    assert launched.line() == "ready"
    launched.signal(signal.SIGTERM)
    assert launched.end()[0] == 128 + signal.SIGTERM


def test_a_child_that_does_not_stop_is_killed(launch: Callable[..., Launched]) -> None:
    ignoring = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready')\nwhile True: signal.pause()"
    )
    launched = launch(ignoring, stop_seconds=0.3)
    assert launched.line() == "ready"
    launched.signal(signal.SIGTERM)
    code, _out, err = launched.end()
    assert code == 128 + signal.SIGKILL
    assert b"vLLM did not end within 0.3 s of the stop signal and is killed" in err
    assert launched.last_words is None


def test_what_comes_before_does_not_count_as_the_childs_time(launch: Callable[..., Launched]) -> None:
    willing = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('ready'); signal.pause()"
    )
    launched = launch(willing, before_stop="import time; time.sleep(1.2)", stop_seconds=1)
    assert launched.line() == "ready"
    launched.signal(signal.SIGTERM)
    assert launched.end()[0] == 0


def test_who_was_asked_to_stop_leaves_no_last_words(launch: Callable[..., Launched]) -> None:
    launched = launch("import signal; print('ready'); signal.pause()")
    assert launched.line() == "ready"
    launched.signal(signal.SIGTERM)
    assert launched.end()[0] == 128 + signal.SIGTERM
    assert launched.last_words is None


@pytest.mark.parametrize("stubborn", [False, True], ids=["willing", "ignoring SIGTERM"])
def test_no_descendant_is_left(launch: Callable[..., Launched], stubborn: bool) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if stubborn else "pass"
    launched = launch(ORPHAN.replace("IGNORE", ignore))
    orphan = int(launched.line())
    launched.end()
    assert not Path(f"/proc/{orphan}").exists()


def test_orphans_are_reaped_while_the_child_runs(launch: Callable[..., Launched]) -> None:
    launched = launch(WAIT_FOR_RELEASE + ORPHAN.replace("IGNORE", "pass") + "\nwait()")
    orphan = int(launched.line())
    until(lambda: orphan in children(launched.process.pid))
    os.kill(orphan, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{orphan}").exists())
    assert launched.process.poll() is None
    launched.release.touch()
    assert launched.end()[0] == 0


def test_the_child_does_not_outlive_a_killed_launcher(launch: Callable[..., Launched]) -> None:
    launched = launch("import os, signal; print(os.getpid()); signal.pause()")
    child = int(launched.line())
    launched.process.kill()
    launched.process.wait()
    until(lambda: not Path(f"/proc/{child}").exists() or process_status(child, "State").startswith("Z"))


def test_a_failed_child_leaves_its_last_words(launch: Callable[..., Launched]) -> None:
    launched = launch("print('loading'); raise ValueError('the model has no heads')")
    code, _out, err = launched.end()
    assert code == 1
    assert launched.last_words is not None
    found = diagnosis_from_json(launched.last_words)
    assert (found.finding.reason, found.finding.message, found.exit_code) == (
        "Unknown",
        "ValueError: the model has no heads",
        1,
    )
    assert found.detail.startswith("loading\n")
    assert b"llmservice: Unknown: ValueError: the model has no heads" in err


def test_the_exit_code_is_that_of_the_cause(launch: Callable[..., Launched]) -> None:
    launched = launch("raise OSError(28, 'No space left on device')")
    assert launched.end()[0] == DISK_FULL.exit_code
    assert launched.last_words is not None
    assert diagnosis_from_json(launched.last_words).finding.reason == "DiskFull"


def test_a_killed_child_is_said_to_be_killed(launch: Callable[..., Launched]) -> None:
    launched = launch("import os; os.kill(os.getpid(), 9)")
    assert launched.end()[0] == KILLED.exit_code
    assert launched.last_words is not None
    found = diagnosis_from_json(launched.last_words)
    assert (found.finding.reason, found.finding.field) == ("Killed", "spec.resources.memory")


BECOME = """
import os, pathlib, signal, sys
from llmservice_runtime.launcher import launcher
really = os.execve
def execve(*arguments):
    os.kill(os.getpid(), int(os.environ["NUMBER"]))  # it comes at the worst moment
    really(*arguments)
if "NUMBER" in os.environ: os.execve = execve
ballast = bytes(100_000_000)
environ = {**os.environ, "ADDED": "yes"}
command = [sys.executable, "-u", "-c", sys.argv[1]]
launcher.exec_launcher(command, environ, pathlib.Path(sys.argv[2]), int(sys.argv[3]), 1.5)
"""


@pytest.fixture
def become(tmp_path: Path, unused_tcp_port: int) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that becomes the launcher of a program that does not listen on its port."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", BECOME, program, str(tmp_path / "termination-log"), str(unused_tcp_port)],
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_memory_of_the_process_that_made_the_command_is_freed(become: Callable[..., subprocess.Popen[str]]) -> None:
    process = become("import os, time; print(os.environ['ADDED'], flush=True); time.sleep(600)")
    assert process.stdout
    assert process.stdout.readline() == "yes\n"
    assert int(process_status(process.pid, "VmRSS").split()[0]) < 25_000, "kB"
    (child,) = children(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{child}").exists()
    assert process.stderr
    assert "nothing to drain" in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_between_both_is_kept(
    become: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = become("import time; time.sleep(600)", NUMBER=str(int(number)))
    assert process.wait(PATIENCE_SECONDS) == 128 + number


def test_the_started_launcher_writes_the_termination_message(
    become: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = become("raise OSError(28, 'No space left on device')")
    assert process.wait(PATIENCE_SECONDS) == DISK_FULL.exit_code
    assert diagnosis_from_json((tmp_path / "termination-log").read_text()).finding.reason == "DiskFull"
