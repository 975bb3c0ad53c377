"""The process that computes memory estimates. It reads requests as lines of JSON and writes results likewise.

``memory_estimates`` starts it, and kills it if a result takes too long. The process also has limits of its own, so that
it can't outlive or outgrow the operator: CPU time per request, memory, and no files. It imports only the estimator.
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
"""CPU time for one result. The kernel counts whole seconds."""
MEMORY_BYTES = 512 << 20
"""Address space of the process."""
LONGEST_LINE = 1 << 20
"""Maximum length of a request or result, in bytes."""
READY = b"ready\n"
"""The first line of output: the process is ready."""


class Asked(msgspec.Struct, frozen=True):
    """A request with its number."""

    number: int
    question: Question


class Answer(msgspec.Struct, frozen=True):
    """The result for the request of that number: the fits, or the type of the error."""

    number: int
    fits: tuple[Fit, ...] = ()
    error: str = ""


def main() -> None:
    """Processes requests until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Writes a result for each line of ``questions``."""
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
    """Lets the kernel kill the process after this much more CPU time."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + CPU_SECONDS, most))


if __name__ == "__main__":
    main()
