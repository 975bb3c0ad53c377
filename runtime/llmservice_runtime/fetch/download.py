"""Downloads files in pieces by parallel range requests, and verifies their digests.

What is on the disk is in the journal, so a download continues where it was. After a kill at most one piece for each
connection is fetched again.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from llmservice_contract import causes
from llmservice_runtime.fetch.client import CONNECTIONS, Client, Unavailable
from llmservice_runtime.fetch.journal import PIECE, Journal, pieces
from llmservice_runtime.fetch.progress import Progress
from llmservice_runtime.fetch.remote_file import RemoteFile
from llmservice_runtime.launcher.launcher import say
from llmservice_runtime.model.unreadable import ModelUnreadable, one_line

CHUNK_PIECES = 16
"""Pieces of one request: 32 MiB."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,16})-([0-9]{1,16})/([0-9]{1,16}|[*])")


@dataclass(frozen=True, slots=True)
class Span:
    """Pieces of a file for one request: from `first` to before `end`."""

    file: int
    first: int
    end: int


class Download:
    """Downloads `files` into `directory`."""

    def __init__(
        self, client: Client, files: Sequence[RemoteFile], directory: Path, journal: Journal, progress: Progress
    ) -> None:
        self._client, self._files, self._directory = client, files, directory
        self._journal, self._progress = journal, progress
        self._fds: dict[int, int] = {}

    async def run(self) -> dict[str, str]:
        """SHA-256 of all files by name, once they are on the disk and verified. Raises ModelUnreadable."""
        with disk_errors(self._directory):
            self._open()
            try:
                for attempt in range(2):
                    await self._fetch_missing()
                    wrong = [each for each in range(len(self._files)) if not await self._verify(each)]
                    if not wrong:
                        break
                    for each in wrong:
                        self._progress.done -= self._journal.forget(each)
                    self._report(wrong, is_last=attempt == 1)
            finally:
                for fd in self._fds.values():
                    os.close(fd)
        return {file.name: self._journal.verified[index] for index, file in enumerate(self._files)}

    def _open(self) -> None:
        for index, file in enumerate(self._files):
            path = self._directory / file.name
            path.parent.mkdir(exist_ok=True)
            self._fds[index] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            if os.fstat(self._fds[index]).st_size != file.size:
                # New, or lost while its pieces are in the journal: a source without digests would not show it.
                self._progress.done -= self._journal.forget(index)
                os.ftruncate(self._fds[index], file.size)
                os.fsync(self._fds[index])
            sync_directory(path.parent)

    async def _fetch_missing(self) -> None:
        spans = deque(self._missing())

        async def work() -> None:
            while spans:
                await self._fetch(spans.popleft())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONNECTIONS, len(spans))):
                group.create_task(work())

    def _missing(self) -> Iterator[Span]:
        for index, file in enumerate(self._files):
            first: int | None = None
            count = pieces(file.size)
            for piece in range(count + 1):
                is_missing = piece < count and not self._journal.has(index, piece)
                if first is not None and (not is_missing or piece - first == CHUNK_PIECES):
                    yield Span(index, first, piece)
                    first = None
                if is_missing and first is None:
                    first = piece

    async def _fetch(self, span: Span) -> None:
        pause = self._client.first_pause
        at = span.first
        while at < span.end:
            try:
                async for _ in self._pieces(Span(span.file, at, span.end)):
                    at += 1
                    pause = self._client.first_pause
            except Unavailable as error:
                pause = await self._client.wait(error, pause)

    async def _pieces(self, span: Span) -> AsyncIterator[int]:
        """Yields after each piece that is on the disk and in the journal. Raises Unavailable and ModelUnreadable."""
        file = self._files[span.file]
        begin, end = span.first * PIECE, min(file.size, span.end * PIECE)
        headers = {**file.headers, "Range": f"bytes={begin}-{end - 1}"}
        async with self._client.get(file.link(), headers) as response:
            self._check_range(file, response, begin, end)
            piece, content = span.first, bytearray()
            async for part in response.content.iter_chunked(1 << 18):
                content += part
                while content and (len(content) >= PIECE or piece * PIECE + len(content) == file.size):
                    if piece >= span.end:
                        raise Unavailable(f"{file.name}: more bytes than were asked for")
                    await asyncio.to_thread(self._write, span.file, piece, bytes(content[:PIECE]))
                    self._client.arrived()
                    self._progress.add(min(PIECE, len(content)))
                    del content[:PIECE]
                    piece += 1
                    yield piece
            if piece < span.end:
                raise Unavailable(f"{file.name}: the connection ended at byte {piece * PIECE + len(content)}")

    def _check_range(self, file: RemoteFile, response: aiohttp.ClientResponse, begin: int, end: int) -> None:
        if response.status == 200:
            is_whole = begin == 0 and end == file.size and response.content_length in (None, file.size)
            if is_whole:
                return
            raise self._client.refusal(
                f"The {self._client.kind.name} sends all of {file.name} where a part of it was asked for.",
                fix="Use a server that supports range requests.",
            )
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or (int(found[1]), int(found[2])) != (begin, end - 1) or found[3] not in ("*", str(file.size)):
            raise _changed(f"{file.name} does not have the {file.size} bytes that the source lists")

    def _write(self, file: int, piece: int, content: bytes) -> None:
        written = 0
        while written < len(content):
            written += os.pwrite(self._fds[file], content[written:], piece * PIECE + written)
        os.fdatasync(self._fds[file])
        self._journal.add(file, piece)

    async def _verify(self, index: int) -> bool:
        """Whether the file has the digest that the source lists, if it lists one."""
        if index in self._journal.verified:
            return True
        file = self._files[index]
        sha256, sha1 = await asyncio.to_thread(_digests, self._fds[index], file)
        if (file.sha256 or sha256) != sha256 or (file.git_sha1 or sha1) != sha1:
            return False
        self._journal.verify(index, sha256)
        return True

    def _report(self, wrong: Sequence[int], *, is_last: bool) -> None:
        names = ", ".join(self._files[index].name for index in wrong[:3])
        said = f"{names}: the content does not have the digest that the source lists"
        if is_last:
            raise _changed(said)
        say(f"{said}. Fetching it once more.")


def sync_directory(directory: Path) -> None:
    """Flushes the names in a directory to the disk."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _changed(said: str) -> ModelUnreadable:
    return ModelUnreadable(
        causes.BROKEN_WEIGHTS,
        f"{said}. It is not used.",
        fix="Check who changed the file, and restore it; or set spec.model.source and its revision to a model that is "
        "unchanged.",
    )


def _digests(fd: int, file: RemoteFile) -> tuple[str, str]:
    """SHA-256 of the content, and git's digest if the source lists one."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False) if file.git_sha1 else None
    at = 0
    while content := os.pread(fd, 1 << 22, at):
        sha256.update(content)
        if git is not None:
            git.update(content)
        at += len(content)
    return sha256.hexdigest(), git.hexdigest() if git is not None else ""


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Raises ModelUnreadable for errors of the disk."""
    try:
        yield
    except OSError as error:
        raise _disk_error(error, directory) from error
    except ExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        raise (_disk_error(first, directory) if isinstance(first, OSError) else first) from group


def disk_full(message: str, numbers: dict[str, str] | None = None) -> ModelUnreadable:
    """The error of a volume without room."""
    return ModelUnreadable(
        causes.DISK_FULL,
        message,
        field="spec.cache",
        fix="Enlarge the volume of the cache, or remove what is not needed from it. The fetch continues from the bytes "
        "that are on it.",
        numbers=numbers,
    )


def _disk_error(error: OSError, directory: Path) -> ModelUnreadable:
    if error.errno in FULL:
        return disk_full(f"The volume of {directory} is full.")
    cause = causes.NO_PERMISSION if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else causes.MODEL_UNREADABLE
    return ModelUnreadable(cause, f"{directory} can't be written: {one_line(error)}.", field="spec.cache")
