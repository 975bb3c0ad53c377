"""Progress of a step of the demo: its number, what it waits for, the seconds so far, and its duration.

On a terminal one line is redrawn; elsewhere a line is printed every 20 seconds, so that a log shows that work goes on.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

QUIET_SECONDS = 20.0
"""Seconds between two lines where the output is no terminal."""


class StepFailed(Exception):
    """A step did not reach its end; the message is for the person who watches."""


class Step:
    """One step, used as a context manager; ``waiting_for`` may be changed while it runs."""

    def __init__(self, number: int, total: int, title: str, waiting_for: str) -> None:
        self.label = f"[{number}/{total}] {title}"
        self.waiting_for = waiting_for
        self._done = threading.Event()
        self._terminal = sys.stdout.isatty()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> "Step":
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        verdict = "ok" if error is None else "FAILED"
        self._line(f"{self.label}: {verdict}, {self.seconds:.0f} s", end="\n")

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._start

    def _line(self, text: str, end: str) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[2K{text[:width]}", end=end, flush=True)
        else:
            print(text, flush=True)

    def _show(self) -> None:
        pause = 0.5 if self._terminal else QUIET_SECONDS
        if self._terminal:
            self._line(f"{self.label}: {self.waiting_for}", end="")
        while not self._done.wait(pause):
            self._line(f"{self.label}: {self.seconds:.0f} s, {self.waiting_for}", end="")


def run_logged(step: Step, log: Path, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Run a long command; its output goes to ``log`` and its newest line is shown as what is waited for.

    Raises StepFailed with the last lines of the output where the command fails.
    """
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n")
        if shutil.which(command[0]) is None:
            raise StepFailed(f"{command[0]} is not on the PATH: install it, then run this again")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}
        )
        tail: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            if line.strip():
                tail = [*tail[-14:], line.rstrip()]
                step.waiting_for = line.strip()
        if process.wait() != 0:
            raise StepFailed(
                f"`{' '.join(command)}` ended with exit code {process.returncode}. Its last lines:\n  "
                + "\n  ".join(tail)
                + f"\nAll of its output: {log}"
            )


def wait_until(step: Step, seconds: float, look: Callable[[], str | None], pause: float = 0.5) -> None:
    """Call ``look`` until it returns None; what it returns otherwise is shown as what is waited for.

    Raises StepFailed after ``seconds`` with the last of these words.
    """
    deadline = time.monotonic() + seconds
    while True:
        missing = look()
        if missing is None:
            return
        step.waiting_for = missing
        if time.monotonic() > deadline:
            raise StepFailed(f"not there after {seconds:.0f} s: {missing}")
        time.sleep(pause)
