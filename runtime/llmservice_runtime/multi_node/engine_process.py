"""The engine as a child of the agent: the launcher and vLLM below it, at most one at a time.

The launcher works as without an agent; this module starts it, asks it to stop, and kills it with all its
descendants.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from asyncio import Future
from collections.abc import Sequence
from pathlib import Path

from llmservice_runtime.launcher import launcher, processes
from llmservice_runtime.multi_node.futures import resolve_once, wait_any
from llmservice_runtime.multi_node.rank_config import RankConfig


class Engine:
    """Runs `command`. Call `reap` at each SIGCHLD."""

    def __init__(self, place: RankConfig, command: Sequence[str]) -> None:
        self._log = Path(place.termination_log)
        self._program = launcher.program(command, self._log, place.ports.http, place.drain_seconds)
        self._grace = place.pace.grace
        self._child: subprocess.Popen[bytes] | None = None
        self.ended: Future[int]

    def start(self) -> None:
        """Starts the engine; `ended` will have its exit code. Call it only while none runs."""
        self.ended = asyncio.get_running_loop().create_future()
        self._child = subprocess.Popen(
            self._program,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=processes.die_with_parent,
        )

    def reap(self) -> None:
        """Records the exits of children."""
        for pid, status in processes.reap().items():
            if self._child is not None and pid == self._child.pid:
                self._child.returncode = processes.exit_code(status)
                resolve_once(self.ended, self._child.returncode)

    def stop(self) -> None:
        """Asks the launcher to drain and stop vLLM, as the kubelet does."""
        self._signal(signal.SIGTERM)

    async def end(self) -> None:
        """Kills the engine and its descendants. Only the launcher's exit code counts, so it is reaped first."""
        self._signal(signal.SIGKILL)
        await wait_any(self.ended)
        await asyncio.to_thread(processes.end_all_children, self._grace)

    def forget_cause(self) -> None:
        """Empties the termination log, because the engine was stopped because of another rank."""
        if self._log.exists():
            launcher.write_termination_log(self._log, "")

    def _signal(self, number: int) -> None:
        if self._child is not None and not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid, number)
