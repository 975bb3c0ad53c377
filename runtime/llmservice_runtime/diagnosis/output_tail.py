"""The tail of vLLM's output: enough to find the root cause of an exit, with a bounded size.

Each process of vLLM has its own buffer, so many lines of one (the API server logs the same error for each open request)
never displace those of another. When the server is ready, lines of its start are dropped, because they can't be the
cause of a later exit.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass

from llmservice_runtime.diagnosis import host_memory

KEPT_LINES = 400
"""Lines kept of each process."""
KEPT_PROCESSES = 80
KEPT_CHARACTERS = 2000
"""Characters kept of each line."""

SERVES = "Application startup complete."
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PROCESS = re.compile(r"^\((\w+[^()]*) pid=\d+\) ")
LOGGED = re.compile(r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL) +\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \[[^\]]+\] ?")
UVICORN = re.compile(r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL): +")


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its prefixes and colours."""

    text: str
    process: str = ""
    """Name of the process, such as EngineCore or Worker_TP0; empty if the line has none."""
    level: str = ""
    """Log level; empty for lines that were only printed."""

    @property
    def in_passing(self) -> bool:
        """Whether it was logged below the level of an error."""
        return self.level in ("DEBUG", "INFO", "WARNING")

    @property
    def shown(self) -> str:
        """The line with the name of its process."""
        return f"{self.process}: {self.text}" if self.process else self.text


def parse(text: str) -> Line:
    """`text` as a line. It may have several prefixes, if processes write at the same time."""
    text = COLOUR.sub("", text)
    process = level = ""
    while match := PROCESS.match(text):
        process, text = match[1], text[match.end() :]
    if match := LOGGED.match(text) or UVICORN.match(text):
        level, text = match[1], text[match.end() :]
    return Line(text, process, level)


class OutputTail:
    """The last lines of several streams, which arrive in pieces of any size, and facts seen in them."""

    def __init__(self) -> None:
        self.served = False
        self._kills_before = host_memory.kills()
        self._kept: OrderedDict[str, deque[tuple[int, Line]]] = OrderedDict()
        self._count = 0
        self._partial: dict[int, bytes] = {}

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed because memory ran out, since this object was created."""
        return host_memory.kills() - self._kills_before

    @property
    def lines(self) -> list[Line]:
        """The kept lines in the order of completion, each cut to KEPT_CHARACTERS; includes an incomplete last line."""
        kept = sorted((pair for lines in self._kept.values() for pair in lines), key=lambda pair: pair[0])
        return [*(line for _, line in kept), *(parse(_text(rest)) for rest in self._partial.values() if rest)]

    def feed(self, stream: int, data: bytes) -> None:
        """Adds the next piece of a stream."""
        *lines, partial = (self._partial.get(stream, b"") + data).split(b"\n")
        self._partial[stream] = partial[-KEPT_CHARACTERS * 4 :]
        for line in lines:
            self._keep(parse(_text(line)))

    def _keep(self, line: Line) -> None:
        if line.text == SERVES:
            self.served = True
            self._kept.clear()
        self._count += 1
        lines = self._kept.setdefault(line.process, deque(maxlen=KEPT_LINES))
        lines.append((self._count, line))
        self._kept.move_to_end(line.process)
        if len(self._kept) > KEPT_PROCESSES:
            self._kept.popitem(last=False)


def _text(line: bytes) -> str:
    """The text that a terminal would show for `line`: only the last state of a progress bar."""
    return line.decode("utf-8", "replace").rstrip("\r").rsplit("\r", 1)[-1][:KEPT_CHARACTERS]
