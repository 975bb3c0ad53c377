"""Runs vLLM as a child of PID 1.

Always: the child's output passes through byte for byte; the first SIGTERM (or SIGINT, SIGHUP) reaches the child, after
what has to be done before, and later ones don't, because a second one would make vLLM abort what it still answers; a
child that does not end then is killed, for nothing is left to finish; orphans are reaped; when the child has ended, no
descendant is left; its exit code becomes the launcher's. Of a child that ended without being asked to, the cause is
left in the termination log, and the exit code is that of the cause.

It lives as long as vLLM, so it is a program of its own, which `become` puts in the place of the one that found out what
to run: what that one has loaded is memory again.
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
"""What the child gets to end after the stop signal, before it is killed."""
GRACE_SECONDS = 5.0
"""What descendants get after the child itself has ended, before they are killed."""
CHUNK_BYTES = 65_536


@dataclass(slots=True)
class _Child:
    """What is known of the one child; `status` is its wait status, None while it runs."""

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
    """When it is killed, on the monotonic clock."""

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD and self.stop_signal is None:
            self.stop_signal = number

    def stop(self, wake: Callable[[], None]) -> None:
        """Goes on with stopping as far as it can now; `wake` has it called again."""
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
        """Kills it once it has had its time to stop."""
        if self.status is None and self.seconds_left() == 0:
            self.deadline = None
            say(f"vLLM did not end within {STOP_SECONDS:g} s of the stop signal and is killed.")
            self._send(signal.SIGKILL)

    def seconds_left(self) -> float | None:
        """How long until `kill_if_late` does so; None while it does not."""
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

    A stop signal that comes meanwhile is kept for it. Raises OSError if Python cannot be started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    arguments = program(command, termination_log, port, drain_seconds)
    os.execve(sys.executable, arguments, dict(environment))  # noqa: S606 - no shell


def program(command: Sequence[str], termination_log: Path, port: int, drain_seconds: float) -> list[str]:
    """The launcher of `command` as a command line of its own."""
    launcher = [sys.executable, "-m", "llmservice_runtime.launcher.launcher", str(termination_log), str(port)]
    return [*launcher, str(drain_seconds), *command]


def main() -> int:
    """The program that `become` starts: runs what the arguments say and returns the exit code."""
    termination_log, port, drain_seconds, *command = sys.argv[1:]
    return run(command, os.environ, Path(termination_log), lambda: _drain(int(port), float(drain_seconds)))


def _drain(port: int, seconds: float) -> None:
    # Loaded when it is needed: an HTTP client is half as large as all the rest.
    from llmservice_runtime.launcher.pre_stop import DrainRequest

    say(DrainRequest(port, seconds).run())


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    termination_log: Path,
    before_stop: Callable[[], None] | None = None,
) -> int:
    """Runs `command` to its end and returns the exit code: its own (128 + N where signal N ended it) or its cause's.

    `before_stop` is called in a thread of its own when a stop signal comes, which is passed on once it has returned.
    To be called from the main thread, once. Raises OSError if the command cannot be started.
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
        return _leave_last_words(code, tail, environment, termination_log)
    return code


def _watch_signals(child: _Child) -> _Woken:
    """Installs the handlers."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, child.on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return _Woken(reader, writer)


def _follow(child: _Child, woken: _Woken, outputs: Mapping[int, int], tail: output_tail.OutputTail) -> None:
    """Passes output on, reaps and stops until the child has ended."""
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
    """Moves what is there from `source` to `target`; False at its end."""
    data = os.read(source, CHUNK_BYTES)
    tail.feed(source, data)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BrokenPipeError:
            break
    return bool(data)


def _leave_last_words(
    code: int, tail: output_tail.OutputTail, environment: Mapping[str, str], termination_log: Path
) -> int:
    """Tells why the child ended, and returns the exit code that says the same."""
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
    """Leaves `message` for the kubelet; where there is no such file (outside a container) it does nothing."""
    with contextlib.suppress(OSError):
        path.write_text(message, encoding="utf-8")


def say(text: str) -> None:
    """One line of the runtime's own in the log."""
    print(f"llmservice: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())


class DedupLogger:
    """Remembers what it said last."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, text: str) -> None:
        """One line, unless it was the last one."""
        if text != self._last:
            self._last = text
            say(text)
