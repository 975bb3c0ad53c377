"""Messages go to stderr, results to stdout. Text from the cluster never reaches the terminal as an escape sequence."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from llmservice_operator.cli.failure import Unprinted

_NARROWEST = 40
"""Columns below which text is not wrapped any narrower."""


def say(text: str) -> None:
    """Write a message to stderr."""
    sys.stderr.write(f"{printable(text)}\n")


def say_part(text: str) -> None:
    """Write a part of a message to stderr."""
    sys.stderr.write(printable(text, also="\n\t"))
    sys.stderr.flush()


def give(text: str) -> None:
    """Write a result to stdout and flush it, so that a new key is not lost if a later step fails. Characters that are
    not printable are replaced. Raises Unprinted."""
    give_screen(printable(text))


def give_part(text: str) -> None:
    """Write a part of a result, without a newline; tabs stay. Raises Unprinted."""
    _write(printable(text, also="\n\t"))


def give_screen(text: str) -> None:
    """Like ``give``, for text with escape sequences of this program and otherwise only printable characters."""
    _write(f"{text}\n")


def _write(text: str) -> None:
    if sys.stdout is None:
        raise Unprinted("the result could not be printed (stdout is closed)")
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:
            encoding = sys.stdout.encoding
            sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        mute()
        raise Unprinted(f"the result could not be printed ({error.strerror})") from None


def mute() -> None:
    """Redirect stdout to /dev/null after a failed write: otherwise the interpreter fails again at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_coloured() -> bool:
    """Whether stdout is a terminal that may get colours (https://no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal() -> bool:
    """Whether results go to a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def wrapped(text: str) -> str:
    """One line, wrapped at the width of the terminal; as it is if results do not go to a terminal."""
    if not is_terminal():
        return text
    indent = " " * (len(text) - len(text.lstrip()))
    columns = max(_NARROWEST, shutil.get_terminal_size().columns)
    return textwrap.fill(text.strip(), columns, initial_indent=indent, subsequent_indent=f"{indent}  ")


def width(most: int) -> int:
    """Number of columns: those of the terminal, but at most ``most``."""
    return min(most, shutil.get_terminal_size((most, 0)).columns) if is_terminal() else most


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their headings, formatted like kubectl's. An empty last column is omitted."""
    shown = len(headings) if any(row[-1] for row in rows) else len(headings) - 1
    lines = [tuple(printable(cell) for cell in row[:shown]) for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("   ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def one_line(text: str) -> str:
    """The text on one line, with only printable characters."""
    return " ".join(printable(text).split())


def printable(text: str, also: str = "\n") -> str:
    """The text with only printable characters and ``also``."""
    return "".join(each if each.isprintable() or each in also else "?" for each in text)
