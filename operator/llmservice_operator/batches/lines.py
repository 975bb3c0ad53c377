"""The lines of a batch's input: checked once, and read again one by one when they are sent.

An input is untrusted. It is read line by line, and kept of each line are its place in the file and its model.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from pathlib import Path

import msgspec

from llmservice_operator.batches.model import Problem

LINE_BYTES = 4 * 2**20
CUSTOM_ID = 512
"""Longest custom_id, in characters."""
MODELS = 64
"""Most models of one batch."""
MODEL = 256
PROBLEMS = 20
"""Problems after which no more are looked for."""


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct):
    # Not decoded: what is in their place may take many times its size.
    model: msgspec.Raw = msgspec.Raw(b'""')
    stream: msgspec.Raw = msgspec.Raw(b"null")


_decode_line, _decode_body = msgspec.json.Decoder(_Line).decode, msgspec.json.Decoder(_Body).decode


class Line(msgspec.Struct, frozen=True):
    """One line."""

    custom_id: str
    body: bytes
    """What is sent, as it is in the file."""


class InvalidInput(Exception):
    """The input is no batch."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


class Lines:
    """The lines of one input."""

    def __init__(self, path: Path, endpoint: str, most: int) -> None:
        """Reads the whole file. Raises InvalidInput, OSError."""
        self._file = path.open("rb")
        self._starts, self._lengths = array("Q"), array("Q")
        self.models: list[str] = []
        """The models that the lines name."""
        self.model_of = bytearray()
        """Index of each line's model."""
        try:
            problems = self._read(endpoint, most)
            if not problems and not self._starts:
                problems.append(Problem("empty_file", "The file has no line."))
            if problems:
                raise InvalidInput(*problems)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._starts)

    def size(self, number: int) -> int:
        """Bytes of a line."""
        return self._lengths[number]

    def line(self, number: int) -> Line:
        """A line by its number; may be called from any thread. Raises OSError."""
        text = os.pread(self._file.fileno(), self._lengths[number], self._starts[number])
        found = _decode_line(text)
        return Line(found.custom_id, bytes(found.body))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _read(self, endpoint: str, most: int) -> list[Problem]:
        problems: list[Problem] = []
        seen: set[bytes] = set()
        models: dict[str, int] = {}
        place = row = 0
        while (text := self._file.readline(LINE_BYTES + 1)) and len(problems) < PROBLEMS:
            row += 1
            start, place = place, place + len(text)
            if len(text) > LINE_BYTES:
                message = f"Line {row} is longer than {LINE_BYTES} bytes. Send shorter requests."
                return [*problems, Problem("line_too_long", message, row)]
            if not text.strip():
                continue
            if len(self._starts) >= most:
                return [*problems, Problem("too_many_lines", f"The file has more than {most} lines. Split it.")]
            found = _check(text, row, endpoint, seen)
            if isinstance(found, Problem):
                problems.append(found)
                continue
            index = models.setdefault(found, len(models))
            if index >= MODELS:
                message = f"The file names more than {MODELS} models. Split it."
                return [*problems, Problem("too_many_models", message, row)]
            self._starts.append(start)
            self._lengths.append(len(text))
            self.model_of.append(index)
        self.models = list(models)
        return problems


def _check(text: bytes, row: int, endpoint: str, seen: set[bytes]) -> str | Problem:
    """The model of a line, or what is wrong with it."""
    try:
        line = _decode_line(text)
        body = _decode_body(line.body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        message = f"Line {row} is no JSON object with custom_id, method, url and a body that is an object: {error}"
        return Problem("invalid_json_line", message[:500], row)
    if not 1 <= len(line.custom_id) <= CUSTOM_ID:
        message = f"The custom_id of line {row} has {len(line.custom_id)} characters. It needs 1 to {CUSTOM_ID}."
        return Problem("invalid_custom_id", message, row, "custom_id")
    digest = hashlib.blake2b(line.custom_id.encode(), digest_size=16).digest()
    if digest in seen:
        message = f"The custom_id {line.custom_id[:64]!r} of line {row} is that of an earlier line. Each needs its own."
        return Problem("duplicate_custom_id", message, row, "custom_id")
    if line.method != "POST":
        return Problem("invalid_method", f"The method of line {row} is {line.method[:16]!r}. Use POST.", row, "method")
    if line.url != endpoint:
        message = f"The url of line {row} is {line.url[:64]!r}, but the endpoint of the batch is {endpoint}."
        return Problem("mismatched_endpoint", message, row, "url")
    if bytes(body.stream) not in (b"null", b"false"):
        return Problem("streaming", f"Line {row} asks for a stream. Remove `stream`.", row, "body.stream")
    name = _model(body.model)
    if name is None:
        return Problem("invalid_model", f"The model of line {row} is no text of {MODEL} characters.", row, "body.model")
    seen.add(digest)
    return name


def _model(text: msgspec.Raw) -> str | None:
    """The name of a model; None if it is none."""
    # A character takes twelve bytes at most, as two \\uXXXX.
    if len(text) > 12 * MODEL + 2:
        return None
    try:
        found = msgspec.json.decode(text, type=str)
    except (msgspec.MsgspecError, ValueError):
        return None
    return found if len(found) <= MODEL else None
