"""The most informative line of an output that no rule matches: the first error that does not only refer to another."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmservice_runtime.diagnosis.output_tail import Line

MOST_CHARACTERS = 1200

EXCEPTION = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Exhausted|Refused|Interrupt)): (\S.*)$")
VALIDATION = re.compile(r"^\s*(?:Value|Assertion) error, (.+?)( \[type=.*)?$")
USAGE = re.compile(r"^(?:vllm|[\w.-]+\.py)( serve)?: error: (.+)$")
BARE = re.compile(r"^(?:\w+\.)*(AssertionError|NotImplementedError|MemoryError|KeyboardInterrupt)$")
FATAL = re.compile(
    r"(?:EngineCore|WorkerProc) (?:failed to start|encountered a fatal error|failed|hit an exception)\.|Fatal "
    r"Python error"
)
"""Precedes the traceback of the error that ended the process; errors of single requests may precede it."""
POINTS_ELSEWHERE = re.compile(
    r"Engine core initialization failed|Frontend process failed during engine core initialization"
    r"|WorkerProc initialization failed|See (?:root cause|stack trace) \(?above|stack trace above for the root cause"
    r"|EngineCore encountered an issue|EngineDeadError|Executor failed\.|validation errors? for "
)


def most_informative(lines: Sequence[Line]) -> str | None:
    """The line; None if no line names an error."""
    begin = next((number for number, line in enumerate(lines) if FATAL.search(line.text)), 0)
    return _first(lines[begin:]) or _first(lines)


def _first(lines: Sequence[Line]) -> str | None:
    fallback = None
    for line in lines:
        if line.in_passing or POINTS_ELSEWHERE.search(line.text):
            continue
        if match := VALIDATION.match(line.text):
            return match[1][:MOST_CHARACTERS]
        if match := USAGE.match(line.text):
            return match[2][:MOST_CHARACTERS]
        if EXCEPTION.match(line.text):
            return line.text[:MOST_CHARACTERS]
        if fallback is None and BARE.match(line.text):
            fallback = line.text
    return fallback
