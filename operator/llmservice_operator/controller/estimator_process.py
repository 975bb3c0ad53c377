"""The process that works memory estimates out: questions come in as lines of JSON, answers go out as such.

It is started by ``memory_estimates``, which kills it where an answer takes too long. Beside that it has limits of its
own, so that it can't outlive or outgrow the operator: CPU time for each question, memory, and no files. Nothing but the
estimate is imported.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import BinaryIO

import msgspec

from llmservice_operator.gpu_memory.ledger import Fit
from llmservice_operator.planner.model.fit_estimate import Question, estimated

CPU_SECONDS = 1
"""CPU time of one answer; the kernel counts whole seconds."""
MEMORY_BYTES = 512 << 20
"""Address space of the process."""
LONGEST_LINE = 1 << 20
"""Bytes of a question or an answer."""
READY = b"ready\n"
"""The first line: from here on answers are quick."""


class Asked(msgspec.Struct, frozen=True):
    """A question and its number."""

    number: int
    question: Question


class Answer(msgspec.Struct, frozen=True):
    """The answer to the question of that number: the fits, or the type of the error."""

    number: int
    fits: tuple[Fit, ...] = ()
    error: str = ""


def main() -> None:
    """Answer until there are no more questions."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer each line of ``questions``."""
    answers.write(READY)
    answers.flush()
    while line := questions.readline(LONGEST_LINE):
        _allow_cpu()
        answers.write(msgspec.json.encode(_answer(line)) + b"\n")
        answers.flush()


def _answer(line: bytes) -> Answer:
    asked = msgspec.json.decode(line, type=Asked)
    try:
        return Answer(asked.number, estimated(asked.question).fits)
    except Exception as error:
        return Answer(asked.number, error=type(error).__name__)


def _allow_cpu() -> None:
    """The kernel ends the process once it has used this much more."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + CPU_SECONDS, most))


if __name__ == "__main__":
    main()
