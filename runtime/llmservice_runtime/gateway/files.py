"""Files that change while the engine runs: looked at each second, read anew when they differ.

A thread does it, so that a slow volume holds up no request. A change counts as read only once it has been read: what a
reader could not read is tried again at the next look. What a reader can't read changes nothing; the readers say so
themselves. Looking costs a few system calls, however many keys a service has.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmservice_contract.policy import BadPolicy, Policy, read_policy

EVERY_SECONDS = 1.0
CERTAIN_SECONDS = 60.0
"""How long the content of a file counts as current after the last successful check."""
MOST_POLICY_BYTES = 1024 * 1024
_UNREAD = object()


@dataclass(frozen=True, slots=True)
class Watched:
    """A file or directory, and what reads it anew."""

    path: Path
    read: Callable[[], bool]
    """False if it could not be read and another attempt may succeed."""
    vital: bool = False
    """Whether an outdated content must not be used."""


class Watcher:
    """Reads each file once at the start and then after each change, until it is stopped."""

    def __init__(
        self,
        watched: Sequence[Watched],
        say: Callable[[str], None],
        every: float = EVERY_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._say = say
        self._every = every
        self._now = now
        self._seen: list[object] = [_UNREAD] * len(watched)
        self._sure_at = [float("-inf")] * len(watched)
        self._told = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.look()

    @property
    def is_certain(self) -> bool:
        """Whether all that is vital was read, or found unchanged, within CERTAIN_SECONDS."""
        least = self._now() - CERTAIN_SECONDS
        return all(sure >= least for each, sure in zip(self._watched, self._sure_at, strict=True) if each.vital)

    def start(self) -> None:
        """Starts watching; may be called with each request."""
        if self._thread is None and self._watched:
            self._thread = threading.Thread(target=self._run, name="llmservice-files", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends it; there is no start after it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Reads what has changed since it was last read."""
        for index, each in enumerate(self._watched):
            now = self._now()
            seen = fingerprint(each.path)
            if seen != self._seen[index]:
                if not self._read(each):
                    continue
                self._seen[index] = seen
            self._sure_at[index] = now

    def _read(self, watched: Watched) -> bool:
        try:
            done = watched.read()
        except Exception as error:  # one bad file must not keep the others from being read
            fault = f"{watched.path} was not read anew: {type(error).__name__}."
            if fault != self._told:
                self._say(fault)
            self._told = fault
            return False
        return done

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self.look()


def fingerprint(path: Path) -> object:
    """Something that differs after each change of a file, or of the entries of a directory."""
    try:
        if not path.is_dir():
            return _identity(path)
        data = path / "..data"
        if data.is_symlink():
            return _identity(data)
        return sorted((each.name, _identity(Path(each.path))) for each in os.scandir(path))
    except OSError as error:
        return error.errno


def _identity(path: Path) -> tuple[str, int, int, int]:
    state = path.stat()
    return os.path.realpath(path), state.st_ino, state.st_mtime_ns, state.st_size


class PolicyFile:
    """The access policy in a file. Until there is a good one `otherwise` holds, after that the last good one."""

    def __init__(self, path: Path | None, otherwise: Policy, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._told = ""
        self.current = otherwise

    def read(self) -> bool:
        """Takes what the file says now. False if it could not be read."""
        if self._path is None:
            return True
        unread = False
        try:
            with self._path.open("rb") as file:
                data = file.read(MOST_POLICY_BYTES)
            policy = read_policy(data.decode())
            fault = ""
        except UnicodeDecodeError:
            fault = "the access policy is no UTF-8 text"
        except BadPolicy as error:
            fault = str(error)
        except OSError as error:
            unread = not isinstance(error, FileNotFoundError)
            fault = f"the access policy can't be read: {error.strerror or type(error).__name__}"
        if not fault:
            self.current = policy
        elif fault != self._told:
            self._say(f"{self._path}: {fault}. The policy that was read before stays in effect.")
        self._told = fault
        return not unread
