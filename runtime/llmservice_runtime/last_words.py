"""What a failed vLLM leaves for people: the line that says why, and the end of its output.

vLLM's last lines name only that some process failed; the cause stands further up, in the first error of the kept
output. The termination message starts with that line and never exceeds what the kubelet keeps.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from llmservice_contract.container import TERMINATION_MESSAGE_BYTES

KEPT_LINES = 600
KEPT_CHARACTERS = 2000
CAUSE_CHARACTERS = 1200

PREFIX = re.compile(
    r"^(\(\w+[^()]*pid=\d+\) )?((DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \[[^\]]+\] ?)?"
)
EXCEPTION = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Exhausted|Refused|Interrupt)): (\S.*)$")
VALIDATION = re.compile(r"^\s*(?:Value|Assertion) error, (.+?)( \[type=.*)?$")
USAGE = re.compile(r"^(?:vllm|[\w.-]+\.py)( serve)?: error: (.+)$")
BARE = re.compile(r"^(?:\w+\.)*(AssertionError|NotImplementedError|MemoryError|KeyboardInterrupt)$")
FRAME = re.compile(r"\s|$")
"""Lines of a traceback between its head and its error, and empty ones."""
NEVER_THE_CAUSE = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|See (?:root cause|stack trace) \(?above"
    r"|EngineCore encountered an issue|EngineDeadError|Executor failed\.|validation errors? for "
)


class Tail:
    """The last lines of several streams of bytes in the order of their ends, whatever pieces they come in."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._partial: dict[int, bytes] = {}

    def feed(self, stream: int, data: bytes) -> None:
        *lines, partial = (self._partial.get(stream, b"") + data).split(b"\n")
        self._partial[stream] = partial[-KEPT_CHARACTERS * 4 :]
        self._lines.extend(_text(line) for line in lines)

    @property
    def lines(self) -> list[str]:
        """The kept lines, each cut to KEPT_CHARACTERS; a last one without its end too."""
        return [*self._lines, *(_text(partial) for partial in self._partial.values() if partial)]


def _text(line: bytes) -> str:
    """What a terminal would show of `line`: a progress bar's last state alone."""
    return line.decode("utf-8", "replace").rstrip("\r").rsplit("\r", 1)[-1][:KEPT_CHARACTERS]


def cause(lines: Iterable[str]) -> str | None:
    """The most telling line, without its log prefix; None if no line names an error."""
    fallback = None
    for line in lines:
        text = PREFIX.sub("", line, count=1)
        if NEVER_THE_CAUSE.search(text):
            continue
        if match := VALIDATION.match(text):
            return match[1][:CAUSE_CHARACTERS]
        if match := USAGE.match(text):
            return match[2][:CAUSE_CHARACTERS]
        if EXCEPTION.match(text):
            return text[:CAUSE_CHARACTERS]
        if fallback is None and BARE.match(text):
            fallback = text
    return fallback


def termination_message(what: str, lines: list[str]) -> str:
    """The cause, how it ended (`what`) and as much of the last lines as there is room for."""
    first = cause(lines)
    head = f"{first}\n\n{what}" if first else what
    return bounded(head, lines)


def bounded(head: str, lines: list[str]) -> str:
    """`head`, then as many of the last `lines` as fit into a termination message."""
    room = TERMINATION_MESSAGE_BYTES - len(head.encode()) - len("\nIts last lines:\n")
    shown: list[str] = []
    for line in reversed([line for line in lines if not FRAME.match(PREFIX.sub("", line, count=1))]):
        room -= len(line.encode()) + 1
        if room < 0:
            break
        shown.insert(0, line)
    text = f"{head}\nIts last lines:\n" + "\n".join(shown) if shown else head
    return text.encode()[:TERMINATION_MESSAGE_BYTES].decode("utf-8", "ignore")
