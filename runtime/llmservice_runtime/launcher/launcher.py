"""Runs vLLM as a child of PID 1.

Invariants: the child's output is forwarded byte for byte. The first SIGTERM (or SIGINT, SIGHUP) is forwarded to the
child, after `before_stop`; later ones are not, because a second one would make vLLM abort requests in flight. If the
child does not exit then, it is killed. Orphans are reaped. When the child has exited, no descendant is left. The
launcher exits with the child's exit code. If the child exits without a stop signal, the root cause is written to the
termination log, and the exit code is that of the cause.

The launcher lives as long as vLLM. It is a program of its own that `exec_launcher` starts in place of the process that
prepared the command, which frees the memory of the modules that process has loaded.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from llmservice_runtime.diagnosis import End, diagnose, output_tail
from llmservice_runtime.launcher import processes

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOP_SECONDS = 30.0
"""How long the child may take to exit after the stop signal, before it is killed."""
GRACE_SECONDS = 5.0
"""How long descendants may take to exit after the child has exited, before they are killed."""
CHUNK_BYTES = 65_536


@dataclass(slots=True)
class _Child:
    """State of the child; `status` is its wait status, None while it runs."""

    before_stop: Callable[[], None] | None
    pid: int | None = None
    status: int | None = None
    stop_signal: int | None = None
    begun: bool = False
    """Whether `before_stop` has been started."""
    prepared: bool = False
    """Whether `before_stop` has ended."""
    forwarded: bool = False
    deadline: float | None = None
    """When the child is killed, on the monotonic clock."""

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD and self.stop_signal is None:
            self.stop_signal = number

    def stop(self, wake: Callable[[], None]) -> None:
        """Takes the next step of stopping; `wake` schedules the next call."""
        if self.stop_signal is None or self.status is not None:
            return
        if not self.begun:
            self.begun = True
            threading.Thread(target=self._prepare, args=(wake,), daemon=True).start()
        if self.prepared and not self.forwarded and self.pid is not None:
            self.forwarded = True
            self.deadline = time.monotonic() + STOP_SECONDS
            self._send(self.stop_signal)

    def kill_if_late(self) -> None:
        """Kills the child if its time to stop is over."""
        if self.status is None and self.seconds_left() == 0:
            self.deadline = None
            say(f"vLLM did not end within {STOP_SECONDS:g} s of the stop signal and is killed.")
            self._send(signal.SIGKILL)

    def seconds_left(self) -> float | None:
        """Seconds until `kill_if_late` kills the child; None if it will not."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def _send(self, number: int) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _prepare(self, wake: Callable[[], None]) -> None:
        try:
            if self.before_stop is not None:
                self.before_stop()
        finally:
            self.prepared = True
            wake()


@dataclass(frozen=True, slots=True)
class _Woken:
    """A pipe that gets a byte with each signal, and with each call of `wake`."""

    reader: int
    writer: int

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self.writer, b"\0")


def exec_launcher(
    command: Sequence[str], environment: Mapping[str, str], termination_log: Path, port: int, drain_seconds: float
) -> NoReturn:
    """Replaces this process by the launcher of `command`, whose engine at `port` may take `drain_seconds` to drain.

    A stop signal that arrives meanwhile stays pending for it. Raises OSError if Python cannot be started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    arguments = program(command, termination_log, port, drain_seconds)
    os.execve(sys.executable, arguments, dict(environment))  # noqa: S606 - no shell


def program(command: Sequence[str], termination_log: Path, port: int, drain_seconds: float) -> list[str]:
    """The command line of the launcher of `command`."""
    launcher = [sys.executable, "-m", "llmservice_runtime.launcher.launcher", str(termination_log), str(port)]
    return [*launcher, str(drain_seconds), *command]


def main() -> int:
    """The program that `exec_launcher` starts: runs the command in the arguments and returns the exit code."""
    termination_log, port, drain_seconds, *command = sys.argv[1:]
    return run(command, os.environ, Path(termination_log), lambda: _drain(int(port), float(drain_seconds)))


def _drain(port: int, seconds: float) -> None:
    # Imported when needed: the HTTP client is half as large as everything else.
    from llmservice_runtime.launcher.pre_stop import DrainRequest

    say(DrainRequest(port, seconds).run())


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    termination_log: Path,
    before_stop: Callable[[], None] | None = None,
) -> int:
    """Runs `command` and returns the exit code: its own (128 + N if signal N killed it) or that of the root cause.

    When a stop signal arrives, `before_stop` is called in another thread, and the signal is forwarded when it returns.
    Call it once, from the main thread. Raises OSError if the command cannot be started.
    """
    processes.become_subreaper()
    child = _Child(before_stop)
    woken = _watch_signals(child)
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=processes.die_with_parent,
    ) as process:
        child.pid = process.pid
        outputs = {_number(process.stdout): sys.stdout.fileno(), _number(process.stderr): sys.stderr.fileno()}
        tail = output_tail.OutputTail()
        _follow(child, woken, outputs, tail)
        processes.end_all_children(GRACE_SECONDS)
        for source, target in outputs.items():
            os.set_blocking(source, False)
            with contextlib.suppress(BlockingIOError):
                while _pass_on(source, target, tail):
                    pass
        code = process.returncode = processes.exit_code(child.status or 0)
    if child.stop_signal is None:
        return _write_cause(code, tail, environment, termination_log)
    return code


def _watch_signals(child: _Child) -> _Woken:
    """Installs the signal handlers."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, child.on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return _Woken(reader, writer)


def _follow(child: _Child, woken: _Woken, outputs: Mapping[int, int], tail: output_tail.OutputTail) -> None:
    """Forwards output, reaps children and handles stop signals until the child has exited."""
    with selectors.DefaultSelector() as selector:
        for source in (woken.reader, *outputs):
            selector.register(source, selectors.EVENT_READ)
        while child.status is None:
            for key, _events in selector.select(child.seconds_left()):
                if key.fd == woken.reader:
                    os.read(woken.reader, CHUNK_BYTES)
                    child.status = processes.reap().get(child.pid or 0, child.status)
                    child.stop(woken.wake)
                elif not _pass_on(key.fd, outputs[key.fd], tail):
                    selector.unregister(key.fd)
            child.kill_if_late()


def _number(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("the child was started without a pipe")
    return pipe.fileno()


def _pass_on(source: int, target: int, tail: output_tail.OutputTail) -> bool:
    """Copies the available output from `source` to `target`; False at its end."""
    data = os.read(source, CHUNK_BYTES)
    tail.feed(source, data)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BrokenPipeError:
            break
    return bool(data)


def _write_cause(code: int, tail: output_tail.OutputTail, environment: Mapping[str, str], termination_log: Path) -> int:
    """Writes the root cause to the termination log, and returns the exit code of the cause."""
    found = diagnose(End(code, tail.lines, tail.served, tail.kills), environment)
    write_termination_log(termination_log, found.to_json())
    say(
        " ".join(
            part
            for part in (f"{found.finding.reason}: {found.finding.message}", found.finding.fix, _how_it_ended(code))
            if part
        )
    )
    return found.exit_code


def _how_it_ended(code: int) -> str:
    return f"vLLM was ended by signal {code - 128}." if code > 128 else f"vLLM ended by itself with exit code {code}."


def write_termination_log(path: Path, message: str) -> None:
    """Writes the termination message; does nothing if the file does not exist (outside a container)."""
    with contextlib.suppress(OSError):
        path.write_text(message, encoding="utf-8")


def say(text: str) -> None:
    """Logs one line of the runtime."""
    print(f"llmservice: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())


class DedupLogger:
    """Remembers the last line."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, text: str) -> None:
        """Logs the line, unless it is the same as the last one."""
        if text != self._last:
            self._last = text
            say(text)
