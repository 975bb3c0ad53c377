"""Sentences go to stderr, results to stdout, and no text of the cluster steers the terminal."""

import os
import sys
from collections.abc import Sequence

from llmservice_operator.cli.failure import Unprinted


def say(text: str) -> None:
    """A sentence on stderr."""
    sys.stderr.write(f"{_printable(text)}\n")


def give(text: str) -> None:
    """A result on stdout, at once: a key that was made must not be lost to what comes after. Raises Unprinted."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        mute()
        raise Unprinted(f"the result could not be printed ({error.strerror})") from None


def mute() -> None:
    """After a failed write to stdout: else the interpreter fails once more as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their headings, as kubectl sets them. A last column that is empty throughout is left out."""
    shown = len(headings) if any(row[-1] for row in rows) else len(headings) - 1
    lines = [tuple(_printable(cell) for cell in row[:shown]) for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("   ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
