"""Groups of agents on this machine: each rank is a process in place of its container, with a stand-in for vLLM.

While a test waits for a group, it acts as the kubelet: it restarts ranks that have exited.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmservice_runtime.multi_node.rank_config import Ports, RankConfig, Timeouts
from support.cluster import wait_until
from support.ports import free_port

STAND_IN = Path(__file__).with_name("stand_in_engine.py")
PACE = Timeouts(beat=0.2, silence=2.0, retry=0.05, verdict=0.7, slack=2.0, grace=0.2, answer=2.0)
PATIENCE_SECONDS = 30
CONTAINER = "TEST_CONTAINER"
"""The variable by which the processes of a container are known."""


class Rank:
    """One rank's container: what is in `directory` outlives it."""

    def __init__(self, directory: Path, place: RankConfig) -> None:
        directory.mkdir()
        self.directory = directory
        self.place = place
        self.exits: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def termination_log(self) -> str:
        path = Path(self.place.termination_log)
        return path.read_text() if path.exists() else ""

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def agent(self) -> int:
        """The agent's pid."""
        assert self.process is not None
        return self.process.pid

    @property
    def engine(self) -> tuple[int, ...]:
        """The pids of its engine; empty if none runs."""
        pids = self.directory / "pids"
        found = tuple(map(int, pids.read_text().split())) if pids.exists() else ()
        return found if all(lives(pid) for pid in found) else ()

    def start(self) -> None:
        """Starts the container, as the kubelet does."""
        stand_in = (sys.executable, "-P", str(STAND_IN), str(self.directory), str(self.place.rank))
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "llmservice_runtime.multi_node", self.place.to_json()),
                    *(*stand_in, str(self.place.ports.http)),
                ],
                env=os.environ | {CONTAINER: str(self.directory)},
                stdout=log,
                stderr=log,
            )

    def keep(self) -> None:
        """Starts it again where it has ended."""
        assert self.process is not None
        code = self.process.poll()
        if code is not None:
            self.exits.append(code)
            self.start()

    def kill(self) -> None:
        """The whole container dies at once, with what its processes start meanwhile."""
        assert self.process is not None
        while pids := self._processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def _processes(self) -> list[int]:
        """The running processes of the container, with any parent."""
        mark = f"{CONTAINER}={self.directory}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def signal(self, number: int) -> None:
        """Sends a signal to the agent."""
        os.kill(self.agent, number)

    def wait(self) -> int:
        """The exit code of the container."""
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text of the agent's answer; 0 if there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.place.ports.probe}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()
        except OSError as error:
            return 0, str(error)

    def change(self, **changes: Any) -> None:
        """It has another place from its next start on."""
        self.place = replace(self.place, **changes)

    def beside(self) -> Rank:
        """Another container of the same rank, with ports of its own."""
        directory = self.directory.with_name(f"{self.directory.name}-beside")
        ports = replace(self.place.ports, http=free_port(), probe=free_port())
        log = str(directory / "termination-log")
        return Rank(directory, replace(self.place, ports=ports, termination_log=log))

    def set(self, name: str) -> None:
        """Puts a file where the stand-in looks for it."""
        (self.directory / name).touch()

    def unset(self, name: str) -> None:
        """Takes it away."""
        (self.directory / name).unlink()


class Group:
    """All ranks of one replica; a context manager, after which none is left."""

    def __init__(self, directory: Path, nodes: int, master: str = "localhost") -> None:
        directory.mkdir()
        place = functools.partial(_place, directory, nodes, group=free_port(), master=master)
        self.ranks = [Rank(directory / str(rank), place(rank)) for rank in range(nodes)]

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        for rank in self.ranks:
            if rank.process is not None:
                rank.kill()

    def start(self) -> None:
        """Starts all ranks, and returns when they serve."""
        for rank in self.ranks:
            rank.start()
        self.wait_until_whole()

    @property
    def engines(self) -> set[int]:
        """The pids of all its engines."""
        return {pid for rank in self.ranks for pid in rank.engine}

    @property
    def agents(self) -> list[int]:
        """The pids of its agents, by rank."""
        return [rank.agent for rank in self.ranks]

    def wait_until_whole(self, without: Set[int] = frozenset()) -> None:
        """Returns when every rank is ready with an engine that is none of `without`."""

        def whole() -> bool:
            for rank in self.ranks:
                rank.keep()
            new = all(rank.engine and not set(rank.engine) & without for rank in self.ranks)
            return new and all(rank.probe("/ready")[0] == 200 for rank in self.ranks)

        try:
            wait_until(whole, "the group is whole", PATIENCE_SECONDS, every=0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error

    def logs(self) -> str:
        return "\n".join(f"--- rank {rank.place.rank}\n{rank.log}" for rank in self.ranks if rank.process)

    @contextlib.contextmanager
    def request(self) -> Iterator[Request]:
        """A request that runs in rank 0's engine until the test ends it."""
        leader = self.ranks[0]
        (leader.directory / "finish").unlink(missing_ok=True)
        request = Request(leader)
        request.thread.start()
        try:
            wait_until((leader.directory / "working").exists, "the request runs", PATIENCE_SECONDS, every=0.01)
            yield request
        finally:
            self.ranks[0].set("finish")
            request.thread.join(PATIENCE_SECONDS)


class Request:
    """Work for rank 0's engine."""

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._url = f"http://127.0.0.1:{rank.place.ports.http}/work"
        self._status = 0
        self.thread = threading.Thread(target=self._run)

    def finish(self) -> int:
        """Lets it finish, and returns the status of its answer; 0 if it was cut."""
        self._rank.set("finish")
        self.thread.join(PATIENCE_SECONDS)
        return self._status

    def _run(self) -> None:
        try:
            with urllib.request.urlopen(self._url, data=b"", timeout=PATIENCE_SECONDS) as answer:
                self._status = answer.status
        except OSError:
            self._status = 0


def _place(directory: Path, nodes: int, rank: int, group: int, master: str) -> RankConfig:
    return RankConfig(
        rank=rank,
        nodes=nodes,
        master=master,
        digest="same",
        termination_log=str(directory / str(rank) / "termination-log"),
        drain_seconds=PATIENCE_SECONDS,
        ports=Ports(http=free_port(), group=group, probe=free_port()),
        pace=PACE,
    )


def lives(pid: int) -> bool:
    """Whether there is such a process, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> set[int]:
    """The processes that this one has started or inherited."""
    found: set[int] = set()
    with contextlib.suppress(OSError):  # it has ended
        for of_thread in Path(f"/proc/{pid}/task").iterdir():
            found.update(map(int, (of_thread / "children").read_text().split()))
    return found
