"""Sentences go to stderr, results to stdout, and no text of the cluster steers the terminal."""

import os
import shutil
import sys
from collections.abc import Sequence

from llmservice_operator.cli.failure import Unprinted


def say(text: str) -> None:
    """A sentence on stderr."""
    sys.stderr.write(f"{printable(text)}\n")


def give(text: str) -> None:
    """A result on stdout, at once: a key that was made must not be lost to what comes after. Of the text, what could
    steer a terminal is replaced. Raises Unprinted."""
    give_screen(printable(text))


def give_screen(text: str) -> None:
    """As ``give``, of a text with escape sequences of our own, in which all else is printable."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        mute()
        raise Unprinted(f"the result could not be printed ({error.strerror})") from None


def mute() -> None:
    """After a failed write to stdout: else the interpreter fails once more as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_coloured() -> bool:
    """Whether stdout is a terminal of somebody who has nothing against colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width(most: int) -> int:
    """Columns to write in: those of the terminal, and at most so many."""
    return min(most, shutil.get_terminal_size((most, 0)).columns) if sys.stdout.isatty() else most


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their headings, as kubectl sets them. A last column that is empty throughout is left out."""
    shown = len(headings) if any(row[-1] for row in rows) else len(headings) - 1
    lines = [tuple(printable(cell) for cell in row[:shown]) for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("   ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def one_line(text: str) -> str:
    """The text on one line, without what could steer a terminal."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """The text without what could steer a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
