"""Which pieces of the files are on the disk, so that a fetch continues after it was killed.

A piece is recorded after its bytes were flushed to the disk. The journal is a text file: its first line identifies the
list of files, ``FILE PIECE`` is a piece, ``FILE -`` forgets a file, and ``FILE =DIGEST`` is a file that was verified. A
line without its end was cut off and does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from llmservice_runtime.fetch.remote_file import RemoteFile

PIECE = 2 << 20
"""Bytes of a piece: what is fetched again at most for each connection after a kill."""
MOST_JOURNAL = 256 << 20


def pieces(size: int) -> int:
    """Number of pieces of a file."""
    return -(-size // PIECE)


class Journal:
    """The journal at a path. Another list of files starts it anew."""

    def __init__(self, path: Path, files: Sequence[RemoteFile]) -> None:
        self._done: list[set[int]] = [set() for _ in files]
        self.verified: dict[int, str] = {}
        """SHA-256 of files that were verified, by index."""
        self._files = files
        is_new = not self._read(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | (os.O_TRUNC if is_new else 0)
        self._fd = os.open(path, flags, 0o644)
        if is_new:
            self._write(fingerprint(files))
        else:
            self._write("")  # ends a line that was cut off

    def has(self, file: int, piece: int) -> bool:
        return piece in self._done[file]

    def done_bytes(self) -> int:
        """Bytes on the disk."""
        return sum(map(self._bytes_of, range(len(self._files))))

    def _bytes_of(self, file: int) -> int:
        return sum(min(PIECE, self._files[file].size - piece * PIECE) for piece in self._done[file])

    def add(self, file: int, piece: int) -> None:
        self._write(f"{file} {piece}")
        self._done[file].add(piece)

    def forget(self, file: int) -> int:
        """The file is fetched again from its start. Returns how many bytes of it were on the disk."""
        lost = self._bytes_of(file)
        if self._done[file] or file in self.verified:
            self._write(f"{file} -")
            self._done[file].clear()
            self.verified.pop(file, None)
        return lost

    def verify(self, file: int, digest: str) -> None:
        self._write(f"{file} ={digest}")
        self.verified[file] = digest

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())
        os.fdatasync(self._fd)

    def _read(self, path: Path) -> bool:
        """Whether there is a journal of the same files."""
        try:
            with path.open("rb") as file:
                lines = file.read(MOST_JOURNAL).decode(errors="replace").split("\n")[:-1]
        except OSError:
            return False
        if not lines or lines[0] != fingerprint(self._files):
            return False
        for line in lines[1:]:
            self._take(line)
        return True

    def _take(self, line: str) -> None:
        first, _, second = line.partition(" ")
        if not first.isdecimal() or int(first) >= len(self._files):
            return
        file = int(first)
        if second == "-":
            self._done[file].clear()
            self.verified.pop(file, None)
        elif second.startswith("=") and len(second) == 65:
            self.verified[file] = second[1:]
        elif second.isdecimal() and int(second) < pieces(self._files[file].size):
            self._done[file].add(int(second))


def fingerprint(files: Sequence[RemoteFile]) -> str:
    """Identifies a list of files: names, sizes, digests and entity tags."""
    content = [[each.name, each.size, each.sha256, each.git_sha1, sorted(each.headers.items())] for each in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
