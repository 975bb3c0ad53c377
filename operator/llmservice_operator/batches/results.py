"""The results of a batch: one line for each line of its input, in the file of answers or in the one of errors.

These files are the only record of which lines are answered. A line counts as answered once it is on the disk; what a
crash has left of a line at the end of a file is cut off, and that line is computed again. So every line has exactly one
result, even if an engine has answered it twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmservice_operator.batches.store import sync_directory

PREFIX = "batch_req_"


class Result(msgspec.Struct, frozen=True):
    """The result of one line."""

    number: int
    """Of the line among those of the input, from 0."""
    custom_id: str
    request_id: str | None = None
    status: int | None = None
    """None: there is no response, and ``code`` and ``message`` say why."""
    body: msgspec.Raw = msgspec.Raw(b"null")
    """The body of the response."""
    code: str = ""
    message: str = ""

    @property
    def size(self) -> int:
        """Bytes of the response's body."""
        return len(self.body) if self.status is not None else 0

    @property
    def is_answer(self) -> bool:
        """Whether the line got what it asked for."""
        return self.status is not None and 200 <= self.status < 300

    def line(self) -> bytes:
        """As a line of the file."""
        response: dict[str, Any] | None = None
        error = None
        if self.status is None:
            error = {"code": self.code, "message": self.message}
        else:
            response = {"status_code": self.status, "request_id": self.request_id, "body": self.body}
        line = {
            "id": f"{PREFIX}{self.number}",
            "custom_id": self.custom_id,
            "response": response,
            "error": error,
        }
        # A body that another program wrote may have line breaks between its values; texts have none.
        return msgspec.json.encode(line).replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


class _Kept(msgspec.Struct):
    id: str
    custom_id: str
    response: msgspec.Raw
    error: msgspec.Raw


_decode = msgspec.json.Decoder(_Kept).decode


class Results:
    """The results of one batch on the disk. Methods block."""

    def __init__(self, output: Path, errors: Path, total: int) -> None:
        """Reads what is there. Raises OSError."""
        self.done = bytearray(total)
        """1 for each line that has a result on the disk."""
        self.completed = self.failed = 0
        self._files: list[_Appended] = []
        try:
            for path in (output, errors):
                self._files.append(_Appended(path, self.done))
        except BaseException:
            self.close()
            raise
        self.completed, self.failed = (each.lines for each in self._files)
        sync_directory(output.parent)

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the answers and of the errors."""
        return self._files[0].size, self._files[1].size

    @property
    def left(self) -> int:
        """Lines without a result."""
        return len(self.done) - self.completed - self.failed

    def add(self, results: Sequence[Result]) -> None:
        """Writes results; they are on the disk at the return. Those of lines that have one are left out. Raises OSError
        if they can't be written; then none of them counts."""
        new = list({each.number: each for each in results if not self.done[each.number]}.values())
        by_file = [each for each in new if each.is_answer], [each for each in new if not each.is_answer]
        try:
            for file, lines in zip(self._files, by_file, strict=True):
                file.append(each.line() for each in lines)
        except OSError:
            for file in self._files:
                file.cut()
            raise
        for file, lines in zip(self._files, by_file, strict=True):
            file.keep(len(lines))
        for each in new:
            self.done[each.number] = 1
        self.completed += len(by_file[0])
        self.failed += len(by_file[1])

    def close(self) -> None:
        """Closes the files."""
        for each in self._files:
            each.close()


class _Appended:
    """A file to which lines are appended."""

    def __init__(self, path: Path, done: bytearray) -> None:
        self.size = self.lines = 0
        self._opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with path.open("rb") as file:
            for line in file:
                number = _number(line)
                if number is None or number >= len(done) or done[number]:
                    break
                done[number] = 1
                self.lines += 1
                self.size += len(line)
        self._written = self.size
        self.cut()

    def append(self, lines: Iterable[bytes]) -> None:
        """Writes to the disk, behind what counts."""
        left = memoryview(b"".join(lines))
        self._written = self.size + len(left)
        if not left:
            return
        while left:
            left = left[os.write(self._opened, left) :]
        os.fdatasync(self._opened)

    def keep(self, lines: int) -> None:
        """What was written last counts from now on."""
        self.size = self._written
        self.lines += lines

    def cut(self) -> None:
        """Removes what does not count."""
        os.ftruncate(self._opened, self.size)
        os.fsync(self._opened)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._opened)


def _number(line: bytes) -> int | None:
    """Which line of the input a line is the result of; None if it is not complete."""
    if not line.endswith(b"\n"):
        return None
    try:
        line.decode()
        kept = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    text = kept.id.removeprefix(PREFIX)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
