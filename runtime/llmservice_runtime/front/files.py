"""Files that change while the engine runs: looked at each second, read anew when they differ.

A thread does it, so that a slow volume holds up no request. What a reader can't read changes nothing; the readers say
so themselves. Looking costs a few system calls, however many keys a service has.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmservice_contract.policy import BadPolicy, Policy, read_policy

EVERY_SECONDS = 1.0
MOST_POLICY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Watched:
    """A file or directory, and what reads it anew."""

    path: Path
    read: Callable[[], None]


class Watcher:
    """Reads each file once at the start and then after each change, until it is stopped."""

    def __init__(self, watched: Sequence[Watched], say: Callable[[str], None], every: float = EVERY_SECONDS) -> None:
        self._watched = watched
        self._say = say
        self._every = every
        self._seen: list[object] = [fingerprint(each.path) for each in watched]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for each in watched:
            each.read()

    def start(self) -> None:
        """Begins to look; may be called with each request."""
        if self._thread is None and self._watched:
            self._thread = threading.Thread(target=self._run, name="llmservice-files", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends it; there is no start after it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Reads what has changed since the last look."""
        for index, each in enumerate(self._watched):
            seen = fingerprint(each.path)
            if seen != self._seen[index]:
                self._seen[index] = seen
                each.read()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.look()
            except Exception as error:  # one bad look must not end all later ones
                self._say(f"Keys and access policy were not read anew: {type(error).__name__}.")


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

    def read(self) -> None:
        """Takes what the file says now."""
        if self._path is None:
            return
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
            fault = f"the access policy can't be read: {error.strerror or type(error).__name__}"
        if not fault:
            self.current = policy
        elif fault != self._told:
            self._say(f"{self._path}: {fault}. What held before it holds on.")
        self._told = fault
