"""Runs vLLM as a child of PID 1.

Always: the child's output passes through byte for byte; the first SIGTERM (or SIGINT, SIGHUP) reaches the child once,
because a second one would make vLLM abort what it still answers; orphans are reaped; when the child has ended, no
descendant is left; its exit code becomes the launcher's. A child that ended without being asked to leaves its last
words in the termination log.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from llmservice_runtime import last_words, processes

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACE_SECONDS = 5.0
"""What descendants get after the child itself has ended, before they are killed."""
CHUNK_BYTES = 65_536


@dataclass(slots=True)
class _Child:
    """What is known of the one child; `status` is its wait status, None while it runs."""

    pid: int | None = None
    status: int | None = None
    stop_signal: int | None = None
    forwarded: bool = False

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD and self.stop_signal is None:
            self.stop_signal = number
        self.forward()

    def forward(self) -> None:
        """Passes the stop signal on, once, as soon as there is somebody to get it."""
        if self.stop_signal is None or self.forwarded or self.pid is None or self.status is not None:
            return
        self.forwarded = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, self.stop_signal)


def run(command: Sequence[str], environment: Mapping[str, str], termination_log: Path) -> int:
    """Runs `command` to its end and returns the exit code, 128 + N where signal N ended it.

    To be called from the main thread, once. Raises OSError if the command cannot be started.
    """
    processes.become_subreaper()
    child = _Child()
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
        child.forward()
        outputs = {_number(process.stdout): sys.stdout.fileno(), _number(process.stderr): sys.stderr.fileno()}
        tail = last_words.Tail()
        _follow(child, woken, outputs, tail)
        processes.end_all_children(GRACE_SECONDS)
        for source, target in outputs.items():
            os.set_blocking(source, False)
            with contextlib.suppress(BlockingIOError):
                while _pass_on(source, target, tail):
                    pass
        code = process.returncode = processes.exit_code(child.status or 0)
    if child.stop_signal is None:
        _leave_last_words(code, tail.lines, termination_log)
    return code


def _watch_signals(child: _Child) -> int:
    """Installs the handlers; the returned descriptor becomes readable with each signal."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, child.on_signal)
    return reader


def _follow(child: _Child, woken: int, outputs: Mapping[int, int], tail: last_words.Tail) -> None:
    """Passes output on and reaps until the child has ended."""
    with selectors.DefaultSelector() as selector:
        for source in (woken, *outputs):
            selector.register(source, selectors.EVENT_READ)
        while child.status is None:
            for key, _events in selector.select():
                if key.fd == woken:
                    os.read(woken, CHUNK_BYTES)
                    child.status = processes.reap().get(child.pid or 0, child.status)
                elif not _pass_on(key.fd, outputs[key.fd], tail):
                    selector.unregister(key.fd)


def _number(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("the child was started without a pipe")
    return pipe.fileno()


def _pass_on(source: int, target: int, tail: last_words.Tail) -> bool:
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


def _leave_last_words(code: int, lines: list[str], termination_log: Path) -> None:
    message = last_words.termination_message(_how_it_ended(code), lines)
    write_termination_log(termination_log, message)
    say(message.split("\n\nIts last lines:")[0].replace("\n\n", " – "))


def _how_it_ended(code: int) -> str:
    if code == 128 + signal.SIGKILL:
        return (
            "vLLM was killed (signal 9). If the container's memory limit was reached, raise resources.memory or lower "
            "the engine's cache."
        )
    if code > 128:
        return f"vLLM was ended by signal {code - 128}."
    return f"vLLM ended by itself with exit code {code}."


def write_termination_log(path: Path, message: str) -> None:
    """Leaves `message` for the kubelet; where there is no such file (outside a container) it does nothing."""
    with contextlib.suppress(OSError):
        path.write_text(message, encoding="utf-8")


def say(text: str) -> None:
    """One line of the runtime's own in the log."""
    print(f"llmservice: {text}", file=sys.stderr, flush=True)
